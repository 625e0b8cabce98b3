/**
 * The built-in spawner: what an instance is born with, how it is made to go, and what is left of
 * it.
 */
import { expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
} from "node:fs";

import { findUser, sendSignal, signals } from "../../src/native/process.ts";
import type { AppType } from "../../src/wire/app-request.ts";
import { ascii } from "../../src/wire/bytes.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors, exhaustDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { isRunning, untilGone } from "../helpers/processes.ts";
import { sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { spawnerContract } from "./contract.ts";
import { freshSpawners } from "./spawner-scene.ts";
import {
  connected,
  exchange,
  failureOf,
  get,
  parseAnswer,
  spawnRequest,
  writeApp,
} from "./support.ts";

const never = new AbortController().signal;
const temporaryDirectory = temporaryDirectories();
const scene = freshSpawners(temporaryDirectory);
// After the closing of the spawners: hooks run in the order they are given in.
countDescriptors();

/** An application of one file. */
function app(source: string, file = "server.ts"): string {
  return writeApp(temporaryDirectory(), "app", { [file]: source });
}

function asking(source: string, changed: Parameters<typeof spawnRequest>[1] = {}) {
  return spawnRequest(app(source), { appType: "bun", ...changed });
}

const echoPid = "export default { fetch: () => new Response(String(process.pid)) };";
/** Serves, and then neither its lifeline nor SIGTERM moves it: its event loop stands still. */
const stuck = `
  process.on("SIGTERM", () => {});
  Bun.serve({ fetch: () => { console.log("stuck"); for (;;) Bun.sleepSync(1000); } });
`;

spawnerContract("the built-in spawner", () => ({
  spawner: scene().spawner,
  pid: () => process.pid,
  working: asking(echoPid),
  question: get(),
  failing: asking("throw new Error('no luck today')"),
  hanging: asking("setInterval(() => {}, 1000)"),
}));

/** What an application answers with to one question. */
async function answerOf(source: string, changed?: Parameters<typeof spawnRequest>[1]) {
  const instance = await scene().spawner.spawn(asking(source, changed));
  const { body } = parseAnswer(await exchange(instance, get()));
  instance.release();
  return body;
}

const answering = (expression: string) =>
  `export default { fetch: async () => new Response(await (${expression})) };`;

test("starts an instance with descriptors 0 to 4 and no other of ours", async () => {
  const { spawner } = scene();
  const instance = await spawner.spawn(asking(echoPid));
  const theirs = openDescriptors(instance.pid);
  expect(theirs.get(0)).toBe("/dev/null");
  expect(theirs.get(1)).toStartWith("pipe:");
  expect(theirs.get(2)).toBe(theirs.get(1) ?? "");
  expect(theirs.get(3)).toStartWith("socket:");
  expect(theirs.get(4)).toStartWith("socket:");
  const more = [...theirs].filter(([fd, what]) => fd > 4 && !what.startsWith("anon_inode:"));
  expect(more).toEqual([]);
  instance.release();
});

test("leaves no socket in the file system, and its loader readable for everybody", async () => {
  const { spawner, base } = scene();
  const instance = await spawner.spawn(asking(echoPid));
  const [name = ""] = readdirSync(base);
  expect(name).toStartWith(`application-pool-${process.pid}-`);
  expect(readdirSync(`${base}/${name}/sockets`)).toEqual([]);
  for (const path of [name, `${name}/bun`]) {
    expect(statSync(`${base}/${path}`).mode & 0o777).toBe(0o755);
  }
  for (const file of readdirSync(`${base}/${name}/bun`)) {
    expect(statSync(`${base}/${name}/bun/${file}`).mode & 0o777).toBe(0o444);
  }
  instance.release();
  await spawner.close(never);
  expect(readdirSync(base)).toEqual([]);
});

test("makes its directory again when a cleaner has taken it, or a file of it", async () => {
  const { spawner, base } = scene();
  const request = asking(echoPid);
  (await spawner.spawn(request)).release();
  const [name = ""] = readdirSync(base);
  Bun.spawnSync(["rm", "-rf", `${base}/${name}`]);
  (await spawner.spawn(request)).release();
  const [again = ""] = readdirSync(base);
  Bun.spawnSync(["rm", "-f", `${base}/${again}/bun/session.ts`]);
  (await spawner.spawn(request)).release();
});

test("works below a temporary directory whose path is longer than a socket's address", async () => {
  const baseDirectory = `${temporaryDirectory()}/${"long".repeat(50)}`;
  mkdirSync(baseDirectory);
  const { spawner } = scene({ baseDirectory });
  const instance = await spawner.spawn(asking(echoPid));
  expect(await exchange(instance, get())).toContain(String(instance.pid));
  instance.release();
});

test("tells the application its environment by all its names, and what configure added", async () => {
  const names = ["RACK_ENV", "RAILS_ENV", "NODE_ENV", "WSGI_ENV", "APP_ENV", "CONFIGURED"];
  const source = answering(`${JSON.stringify(names)}.map((name) => process.env[name]).join()`);
  const changed = { environment: ascii("staging"), env: { CONFIGURED: "yes ü" } };
  expect(await answerOf(source, changed)).toContain(
    Buffer.from("staging,staging,staging,staging,staging,yes ü").toString("latin1"),
  );
});

test("hides from the application what made it one", async () => {
  const source = answering(`Object.keys(process.env).join("\\n")`);
  const names = (await answerOf(source)).split("\n");
  expect(names).toContain("PATH");
  expect(
    names.filter((name) => /^(BUN_|APPLICATION_POOL|LISTEN_|NOTIFY_SOCKET)/.test(name)),
  ).toEqual([]);
});

test("runs the application in its root, as the leader of its own process group", async () => {
  const source = answering(
    `process.cwd() + " " + (await Bun.$\`ps -o pgid= -p \${process.pid}\`.text()).trim()`,
  );
  const { spawner } = scene();
  const root = app(source);
  const instance = await spawner.spawn(spawnRequest(root, { appType: "bun" }));
  expect(parseAnswer(await exchange(instance, get())).body).toBe(`${root} ${instance.pid}`);
  instance.release();
});

test("lets no file of the application have a say before it runs", async () => {
  const root = writeApp(temporaryDirectory(), "app", {
    "server.ts": answering(`"env " + process.env.FROM_DOTENV + " preload " + globalThis.evil`),
    "bunfig.toml": 'preload = ["./evil.ts"]\n',
    "evil.ts": "globalThis.evil = true;",
    ".env": "FROM_DOTENV=yes\nBUN_OPTIONS=--preload=./evil.ts\n",
  });
  const instance = await scene().spawner.spawn(spawnRequest(root, { appType: "bun" }));
  expect(parseAnswer(await exchange(instance, get())).body).toBe("env undefined preload undefined");
  instance.release();
});

test("passes the application's output on line by line", async () => {
  const { spawner, lines } = scene();
  const source = `console.log("to stdout"); console.error("to stderr"); ${echoPid}`;
  const instance = await spawner.spawn(asking(source));
  await until(
    "both lines have come",
    () => lines.includes("to stderr"),
    () => lines,
  );
  expect(lines).toContain("to stdout");
  instance.release();
});

test("an instance has the usual concurrency of its kind, or what configure asked for", async () => {
  const { spawner } = scene();
  const request = asking(echoPid);
  const oneForAll = { concurrency: 100_000, instances: 1 };
  expect(spawner.usualInstances(request)).toEqual(oneForAll);
  expect(spawner.usualInstances({ ...request, appType: "auto" })).toEqual(oneForAll);
  const rack = spawner.usualInstances({ ...request, appType: "rack" });
  expect(rack).toEqual({ concurrency: 1, instances: 0 });
  // `threads` is for rack and wsgi, `concurrency` for the others; what does not fit says nothing.
  const atOnce = (appType: AppType, options: object) =>
    spawner.usualInstances({ ...request, appType }, options).concurrency;
  expect(atOnce("rack", { threads: 4, concurrency: 9 })).toBe(4);
  expect(atOnce("wsgi", { concurrency: 9 })).toBe(1);
  expect(atOnce("node", { threads: 4, concurrency: 9 })).toBe(9);
  expect(atOnce("bun", { threads: 4 })).toBe(100_000);
  const [usual, configured] = [
    await spawner.spawn(request),
    await spawner.spawn({ ...request, concurrency: 5 }),
  ];
  expect([usual.concurrency, configured.concurrency]).toEqual([100_000, 5]);
  usual.release();
  configured.release();
});

test("runs as the owner of the startup file when rights are to be lowered", async () => {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  const { uid, gid, home } = user;
  const source = answering(
    `[process.getuid(), process.geteuid(), process.getgid(), process.getgroups(),
      process.env.HOME, process.env.USER].join(" ")`,
  );
  const root = app(source);
  chownSync(`${root}/server.ts`, uid, gid);
  const { spawner } = scene();
  const instance = await spawner.spawn(
    spawnRequest(root, { appType: "bun", lowerPrivilege: true, lowestUser: ascii("daemon") }),
  );
  const { body } = parseAnswer(await exchange(instance, get()));
  expect(body).toBe(`${uid} ${uid} ${gid} ${gid} ${home} nobody`);
  instance.release();
});

test("refuses to run as root what is to run with fewer rights, and says why", async () => {
  if (process.getuid?.() !== 0) throw new Error("this test needs root");
  const { spawner } = scene();
  for (const lowest of ["root", "no such user"]) {
    const request = asking(echoPid, { lowerPrivilege: true, lowestUser: ascii(lowest) });
    const error = await failureOf(spawner.spawn(request));
    expect(error.message).toContain("the startup file belongs to root, and the user to run as");
    expect(Buffer.from(error.page ?? []).toString()).toContain(lowest);
  }
});

test("lets an instance finish its session before it goes", async () => {
  const source = `export default { fetch: () => new Response(new ReadableStream({
    async pull(controller) {
      controller.enqueue("begin ");
      console.log("begun");
      await Bun.sleep(200);
      controller.enqueue("end");
      controller.close();
    } })) };`;
  const { spawner, lines } = scene();
  const instance = await spawner.spawn(asking(source));
  const answer = exchange(instance, get());
  await until("the answer has begun", () => lines.includes("begun"));
  instance.release();
  expect(parseAnswer(await answer).body).toBe("begin end");
  await untilGone(instance.pid);
});

test("ends one that does not go: SIGTERM, then SIGKILL, to it and what it started", async () => {
  const endTimes = { retiredMs: 50, shutdownMs: 50, terminatedMs: 50 };
  const { spawner, lines } = scene({ endTimes });
  const source = `
    const child = Bun.spawn(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
      { stdout: "inherit" });
    console.log("child " + child.pid); ${stuck}`;
  const instance = await spawner.spawn(asking(source));
  const child = await until("it tells its child", () => {
    const said = lines.find((line) => line.startsWith("child "));
    return lines.includes("ready") && said !== undefined && Number(said.slice(6));
  });
  using session = connected(instance);
  await sendAll(session.number, get());
  await until("it is stuck", () => lines.includes("stuck"));
  instance.release();
  await untilGone(instance.pid);
  await untilGone(child);
});

test("does not wait at shutdown when in a hurry", async () => {
  const { spawner, lines } = scene();
  const instance = await spawner.spawn(asking(stuck));
  using session = connected(instance);
  await sendAll(session.number, get());
  await until("it is stuck", () => lines.includes("stuck"));
  await within("the shutdown", spawner.close(AbortSignal.abort()), 4_000);
  expect(isRunning(instance.pid)).toBe(false);
});

test("goes on SIGUSR1 after the session at hand, on SIGTERM at once", async () => {
  const { spawner } = scene();
  for (const signal of [signals.SIGUSR1, signals.SIGTERM]) {
    const instance = await spawner.spawn(asking(echoPid));
    sendSignal(instance.pid, signal);
    await within("the death to be seen", instance.death);
    instance.release();
  }
});

test("dies of an error that the program does not catch, once it serves, as Bun would", async () => {
  const { spawner, lines } = scene();
  const source = `Bun.serve({ fetch: () => {
    setTimeout(() => { throw new Error("uncaught"); }, 1); return new Response("x"); } });`;
  const instance = await spawner.spawn(asking(source));
  await exchange(instance, get());
  await within("the death to be seen", instance.death);
  await until("it says why", () => lines.some((line) => line.includes("uncaught")));
  instance.release();
});

test("takes the closing of the lifeline for a death, and ends the process", async () => {
  const endTimes = { retiredMs: 50, shutdownMs: 50, terminatedMs: 50 };
  const { spawner } = scene({ endTimes });
  const source = `import { closeSync } from "node:fs";
    Bun.serve({ fetch: () => { closeSync(4); return new Response("closed"); } });
    setInterval(() => {}, 1000);`;
  const instance = await spawner.spawn(asking(source));
  await exchange(instance, get());
  await within("the death to be seen", instance.death);
  await untilGone(instance.pid);
  instance.release();
});

test("does not wait for what an instance left behind with its output open", async () => {
  const { spawner, lines } = scene();
  const source = `
    const left = Bun.spawn(["sh", "-c", "trap '' TERM; sleep 0.3; echo still here; exec sleep 60"],
      { stdio: ["ignore", "inherit", "ignore"], detached: true });
    left.unref(); console.log("left " + left.pid); ${echoPid}`;
  const instance = await spawner.spawn(asking(source));
  instance.release();
  await untilGone(instance.pid);
  await until("its output still comes", () => lines.includes("still here"));
  const left = Number(lines.find((line) => line.startsWith("left "))?.slice(5));
  await within("the shutdown", spawner.close(never));
  await untilGone(left);
  Bun.gc(true); // Bun closes a cancelled pipe when it collects its stream.
});

test("fails cleanly when descriptors run out, and works afterwards", async () => {
  const { spawner } = scene();
  const request = asking(echoPid);
  // It goes on: what an instance gives back at its end is not to be had by the next.
  const first = await spawner.spawn(request);
  for (const spare of [0, 2, 4, 6]) {
    using none = exhaustDescriptors(spare);
    void none;
    const error = await failureOf(spawner.spawn(request));
    expect(error.message).toContain("EMFILE");
  }
  first.release();
  (await spawner.spawn(request)).release();
});

test("sweeps what dead servers left behind, and nothing else", async () => {
  const { spawner, base } = scene();
  const child = Bun.spawn(["true"]);
  await child.exited;
  const gone = `application-pool-${child.pid}-abcDE1`;
  const kept = [
    "application-pool-1-abcDE1",
    "application-pool-x-abcDE1",
    `application-pool-${child.pid}`,
    "other",
  ];
  for (const name of [gone, ...kept]) mkdirSync(`${base}/${name}/bun`, { recursive: true });
  chmodSync(`${base}/${gone}/bun`, 0o755);
  spawner.start();
  await until("it is swept", () => !existsSync(`${base}/${gone}`));
  expect(readdirSync(base).toSorted()).toEqual(kept.toSorted());
});

test("leaves a directory alone that belongs to another user", async () => {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  const { spawner, base } = scene();
  const child = Bun.spawn(["true"]);
  await child.exited;
  const path = `${base}/application-pool-${child.pid}-abcDE1`;
  const ours = `${base}/application-pool-${child.pid}-abcDE2`;
  for (const each of [path, ours]) mkdirSync(each);
  chownSync(path, user.uid, user.gid);
  spawner.start();
  await until("ours is swept", () => !existsSync(ours));
  expect(existsSync(path)).toBe(true);
});

test("restores the descriptor limit for its instances", async () => {
  const { spawner } = scene({ originalDescriptorLimit: { soft: 555n, hard: 5555n } });
  const instance = await spawner.spawn(asking(echoPid));
  const limits = readFileSync(`/proc/${instance.pid}/limits`, "utf8");
  expect(limits).toMatch(/Max open files +\d+ +5555 /);
  instance.release();
});
