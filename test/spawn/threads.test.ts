/** Instances that serve several sessions at once, each in a thread: Rack and WSGI, both ways. */
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { isRunning, killIfThere } from "../helpers/processes.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { nextAnswer } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, endWriting, parseAnswer, post, spawnRequest, writeApp } from "./support.ts";
import { threadPrograms, type ThreadedKind } from "./thread-programs.ts";
import { debianPath, to } from "./wsgi-programs.ts";

const { directory, spawner, lines } = spawnerScene();

const THREADS = 4;
const kept = (path: string) => to(path, { SESSION_KEEP: "1" });

interface Started {
  readonly instance: Instance;
  /** Sessions that it has said to be done with. */
  readonly done: () => number;
  /** Lets requests for `/wait` go on. */
  readonly goOn: () => void;
}

const started: { instance: Instance; root: string }[] = [];
const opened: OwnedFd[] = [];

afterEach(async () => {
  for (const session of opened.splice(0)) session.close();
  for (const { instance, root } of started.splice(0)) {
    instance.giveUp();
    instance.release();
    killIfThere(instance.pid);
    await until("it is gone", () => !isRunning(instance.pid));
    spawner.reload(fromText(root)); // With which its preloader goes.
    rmSync(`${root}/go-on`, { force: true });
  }
});

// After the afterEach above: hooks run in the order they are given in.
countDescriptors();

async function start(kind: ThreadedKind, spawnMethod: "smart" | "conservative"): Promise<Started> {
  const root = writeApp(directory, `${kind}-${spawnMethod}`, threadPrograms[kind]);
  const request = { appType: kind, spawnMethod, threads: THREADS, env: { PATH: debianPath } };
  const instance = await spawner.spawn(spawnRequest(root, request));
  started.push({ instance, root });
  let done = 0;
  if (instance.reports !== undefined) instance.reports.onDone = (sessions) => (done += sessions);
  const goOn = () => writeFileSync(`${root}/go-on`, "");
  return { instance, done: () => done, goOn };
}

/** Waits until it is known how it ended: of a fork, its preloader has to tell. */
async function endsWith(instance: Instance, end: string): Promise<void> {
  await until(
    `it ${end}`,
    async () => (await instance.describeEnd()) === end,
    () => lines,
  );
}

async function open(instance: Instance, request: Uint8Array): Promise<OwnedFd> {
  const session = connected(instance);
  opened.push(session);
  await sendAll(session.number, request);
  return session;
}

async function rest(session: OwnedFd): Promise<{ status: string; body: string }> {
  return parseAnswer(await readToEnd(session.number));
}

async function ask(instance: Instance, path: string): Promise<string> {
  const { status, body } = await rest(await open(instance, to(path)));
  return status === "Status: 200 OK" ? body : `${status}: ${body}`;
}

const times = <T>(number: number, make: (at: number) => T): T[] =>
  Array.from({ length: number }, (_, at) => make(at));

/** That all of its threads are there. */
async function expectAll(instance: Instance): Promise<void> {
  const met = await Promise.all(times(THREADS, () => ask(instance, "/meet")));
  expect(met).toEqual(times(THREADS, () => "ok"));
}

const areTold = (text: string, number = 1) =>
  until(
    `'${text}' is told`,
    () => lines.filter((line) => line.includes(text)).length === number,
    () => lines,
  );

/** Requests for `/wait` that are under way. */
async function waiting(instance: Instance, number: number, request = to("/wait")) {
  lines.length = 0;
  const sessions = await Promise.all(times(number, () => open(instance, request)));
  await areTold("waits", number);
  return sessions;
}

const ways = [
  ["rack", "conservative"],
  ["rack", "smart"],
  ["wsgi", "conservative"],
  ["wsgi", "smart"],
] as const;

describe.each(ways)("%s, %s:", (kind, method) => {
  test("serves as many sessions at once as it says, and tells the application", async () => {
    const { instance } = await start(kind, method);
    expect(instance.concurrency).toBe(THREADS);
    const [yes, name] = kind === "rack" ? ["true", '"serving"'] : ["True", "'serving'"];
    expect(await ask(instance, "/facts")).toBe(`[${yes}, ${yes}, ${name}]`);
    for (let round = 0; round < 3; round += 1) await expectAll(instance);
  });

  test("counts each session once", async () => {
    const { instance, done } = await start(kind, method);
    await expectAll(instance);
    const garbled = await open(instance, Buffer.from("garbage"));
    expect((await rest(garbled)).status).toContain("400 Bad Request");
    endWriting((await open(instance, new Uint8Array(0))).number);
    const unread = await open(instance, post("b".repeat(1_000)).subarray(0, -500));
    expect((await rest(unread)).body).toBe("ok");
    await until("all are over", () => done() === THREADS + 3, done);
    expect(await ask(instance, "/facts")).toContain("serving");
    instance.reports?.hear();
    expect(done()).toBe(THREADS + 4);
  });

  test("keeps more sessions than it has threads, and serves what comes on any of them", async () => {
    const { instance, done } = await start(kind, method);
    const sessions = await Promise.all(times(3 * THREADS, () => open(instance, kept("/facts"))));
    const next = () => Promise.all(sessions.map((session) => nextAnswer(session)));
    for (const { body } of await next()) expect(body).toContain("serving");
    for (let round = 0; round < 3; round += 1) {
      for (const session of sessions) await sendAll(session.number, kept("/meet"));
      for (const { body } of await next()) expect(body).toBe("ok");
    }
    await expectAll(instance);
    for (const session of sessions) endWriting(session.number);
    await until("all are over", () => done() === 4 * THREADS, done);
  });

  test("answers requests that came at once on a kept session, in their order", async () => {
    const { instance } = await start(kind, method);
    const three = Buffer.concat([kept("/closed"), kept("/body"), kept("/closed")]);
    const session = await open(instance, three);
    const bodies = [];
    for (let at = 0; at < 3; at += 1) bodies.push((await nextAnswer(session)).body);
    expect(bodies).toEqual(["[]", "noted", kind === "rack" ? "[true]" : "[True]"]);
  });

  test("answers what came at once on several of them, whoever leads", async () => {
    const { instance } = await start(kind, method);
    const many = Buffer.concat(times(20, () => kept("/pause")));
    const sessions = await Promise.all(times(2 * THREADS, () => open(instance, many)));
    for (let turn = 0; turn < 20; turn += 1) {
      const answers = await Promise.all(sessions.map((session) => nextAnswer(session)));
      expect(answers.map(({ body }) => body)).toEqual(times(2 * THREADS, () => "ok"));
    }
  });

  test("waits for nobody who is slow with a head", async () => {
    const { instance } = await start(kind, method);
    const half = to("/facts").subarray(0, 20);
    const slow = await Promise.all(times(2 * THREADS, () => open(instance, half)));
    await expectAll(instance);
    const [first] = slow;
    if (first === undefined) throw new Error("none is slow");
    await sendAll(first.number, to("/facts").subarray(20));
    expect((await rest(first)).body).toContain("serving");
  });

  test("gives each thread the body that it asks for", async () => {
    const { instance } = await start(kind, method);
    const bodies = times(THREADS, (at) => String(at).repeat(300_000 + at));
    const answers = await Promise.all(
      bodies.map(async (body) => {
        const path = { REQUEST_URI: "/echo", PATH_INFO: "/echo" };
        return (await rest(await open(instance, post(body, path)))).body;
      }),
    );
    expect(answers.map((answer, at) => answer === bodies[at])).toEqual(times(THREADS, () => true));
  });

  test("goes on with all threads after requests that fail", async () => {
    const { instance, done } = await start(kind, method);
    const failing = kind === "rack" ? ["/raise", "/signal", "/throw", "/kill"] : ["/raise"];
    const all = times(2 * THREADS, () => failing).flat();
    const answers = await Promise.all(all.map((path) => ask(instance, path)));
    const failed = "Status: 500 Internal Server Error: Internal Server Error\n";
    expect(answers).toEqual(all.map(() => failed));
    await expectAll(instance);
    await until("all are over", () => done() === all.length + THREADS, done);
  });

  test("serves with the other threads while one is stuck", async () => {
    const { instance, done } = await start(kind, method);
    await open(instance, to("/stuck"));
    for (let turn = 0; turn < 2 * THREADS; turn += 1) {
      expect(await ask(instance, "/facts")).toContain("serving");
    }
    await until("all others are over", () => done() === 2 * THREADS, done);
  });

  test("says what is stuck, and lets the others finish before it is ended", async () => {
    const { instance, goOn } = await start(kind, method);
    const [other] = await waiting(instance, 1);
    if (other === undefined) throw new Error("none waits");
    await open(instance, to("/stuck"));
    await areTold("is stuck");
    instance.giveUp();
    const quote = kind === "rack" ? '"' : "'";
    await areTold(`serving GET ${quote}/stuck${quote}`);
    await areTold(`serving GET ${quote}/wait${quote}`);
    await areTold("wait_in_here");
    const before = performance.now();
    await until("its time is over", () => performance.now() - before > 1_200);
    goOn();
    expect((await rest(other)).body).toBe("ok");
    expect(isRunning(instance.pid)).toBe(true);
    instance.release();
    await until("it is gone", () => !isRunning(instance.pid));
  });

  test("finishes what is under way when an application exits, and exits so", async () => {
    const { instance, goOn } = await start(kind, method);
    const others = await waiting(instance, 2);
    const idle = await open(instance, kept("/closed"));
    expect((await nextAnswer(idle)).body).toBe("[]");
    const failed = "Status: 500 Internal Server Error: Internal Server Error\n";
    expect(await ask(instance, "/exit")).toBe(failed);
    expect(await readToEnd(idle.number)).toBe("");
    goOn();
    for (const other of others) expect((await rest(other)).body).toBe("ok");
    await until("it is gone", () => !isRunning(instance.pid));
    await endsWith(instance, "exited with status 3");
  });

  test("finishes what is under way when it is let go, whatever threads are left", async () => {
    const { instance, goOn } = await start(kind, method);
    expect(await ask(instance, "/left")).toBe("ok");
    const others = await waiting(instance, 3);
    const idle = await open(instance, kept("/closed"));
    expect((await nextAnswer(idle)).body).toBe("[]");
    instance.release();
    idle.close();
    goOn();
    for (const other of others) expect((await rest(other)).body).toBe("ok");
    await until("it is gone", () => !isRunning(instance.pid));
  });

  test("finishes what is under way on SIGUSR1", async () => {
    const { instance, goOn } = await start(kind, method);
    const others = await waiting(instance, 2, kept("/wait"));
    process.kill(instance.pid, "SIGUSR1");
    goOn();
    for (const other of others) expect((await nextAnswer(other)).body).toBe("ok");
    await until("it is gone", () => !isRunning(instance.pid));
  });

  test("ends at once on SIGTERM", async () => {
    const { instance } = await start(kind, method);
    await Promise.all(times(THREADS, () => open(instance, to("/stuck"))));
    process.kill(instance.pid, "SIGTERM");
    await until("it is gone", () => !isRunning(instance.pid));
  });

  test("keeps nothing in a child that a request forks, and has all threads after it", async () => {
    const { instance, done } = await start(kind, method);
    const other = await open(instance, kept("/facts"));
    await nextAnswer(other);
    const answers = await Promise.all(times(2 * THREADS, () => ask(instance, "/fork")));
    expect(answers).toEqual(times(2 * THREADS, () => "status 0"));
    await sendAll(other.number, kept("/facts"));
    expect((await nextAnswer(other)).body).toContain("serving");
    await expectAll(instance);
    await until("all are over", () => done() === 3 * THREADS, done);
  });

  test("closes each body in its thread", async () => {
    const { instance } = await start(kind, method);
    await Promise.all(times(THREADS, () => ask(instance, "/body")));
    const yes = kind === "rack" ? "true" : "True";
    expect(await ask(instance, "/closed")).toBe(`[${times(THREADS, () => yes).join(", ")}]`);
  });
});

describe.each(["conservative", "smart"] as const)("rack, %s:", (method) => {
  test("a thread is free when its connection has been taken over", async () => {
    const { instance, done } = await start("rack", method);
    const taken = await Promise.all(times(THREADS, () => open(instance, kept("/hijack"))));
    await until("they are over", () => done() === THREADS, done);
    await expectAll(instance);
    expect(taken.length).toBe(THREADS);
  });

  test("is told to leave a second time when its listener is gone", async () => {
    const { instance, goOn } = await start("rack", method);
    const others = await waiting(instance, 2);
    process.kill(instance.pid, "SIGUSR1");
    await until("it has closed its listener", () => !existsSync(`/proc/${instance.pid}/fd/3`));
    process.kill(instance.pid, "SIGUSR1");
    instance.release();
    goOn();
    for (const other of others) expect((await rest(other)).body).toBe("ok");
    await until("it is gone", () => !isRunning(instance.pid));
    await endsWith(instance, "exited with status 0");
    expect(lines.join("\n")).not.toContain("IOError");
  });

  test("a thread of the application that is to end the process does, after the others", async () => {
    const { instance, goOn } = await start("rack", method);
    const others = await waiting(instance, 2);
    expect(await ask(instance, "/abort")).toBe("ok");
    goOn();
    for (const other of others) expect((await rest(other)).body).toBe("ok");
    await until("it is gone", () => !isRunning(instance.pid));
    await endsWith(instance, "exited with status 1");
  });
});
