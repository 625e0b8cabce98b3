/**
 * The pool server of a supervisor (PROTOCOL section 12): who may say what. The binary, with the
 * supervisor's channel and the wake socket in the test's hands.
 */
import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { receiveDescriptor } from "../../src/native/descriptors.ts";
import { findUser } from "../../src/native/process.ts";
import { socketPair } from "../../src/native/socket.ts";
import { encodeScalar } from "../../src/wire/scalar-message.ts";
import { binaryPath, plainEnvironment } from "../helpers/binary-server.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { ParentEnd } from "../helpers/parent-end.ts";
import { untilGone } from "../helpers/processes.ts";
import {
  appElements,
  frame,
  RawClient,
  type RawSession,
  readToEnd,
  sendAll,
} from "../helpers/raw-client.ts";
import { serverTests } from "../helpers/pool-server.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();
/** What is registered of the words of a get. */
const words = ["true", "nobody", "production", "smart", "bun"];

class Supervised implements AsyncDisposable {
  readonly supervisor: RawClient;
  readonly workers: ParentEnd;
  readonly #process: Bun.Subprocess;

  constructor() {
    const [wakeOurs, wakeTheirs] = socketPair();
    const [ours, theirs] = socketPair();
    this.#process = Bun.spawn(
      [binaryPath, "0", "builtin", "", "", "", "", "--supervisor-channel=4"],
      {
        env: plainEnvironment,
        stdio: ["ignore", "ignore", "ignore", wakeTheirs.number, theirs.number],
      },
    );
    wakeTheirs.close();
    theirs.close();
    this.supervisor = new RawClient(ours);
    this.workers = new ParentEnd(wakeOurs);
  }

  get exited(): Promise<number> {
    return within("the server's end", this.#process.exited);
  }

  /** Registers an application, and sees that it is taken. */
  async register(root: string, options: object = {}): Promise<void> {
    await this.send("register", root, { get: words, options });
    expect(await this.supervisor.receive()).toEqual(["ok"]);
  }

  async send(command: string, root: string, scalar: object): Promise<void> {
    const json = encodeScalar(Buffer.from(JSON.stringify(scalar)));
    await this.supervisor.sendBytes(Buffer.concat([frame(command, root), json]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.workers.closeClients();
    this.workers.close();
    this.supervisor.close();
    await this.exited;
  }
}

/** An application that answers with what its instance was started with. */
function application(name = "app"): string {
  const root = join(temporaryDirectory(), name);
  mkdirSync(root);
  writeFileSync(
    join(root, "server.ts"),
    "export default { fetch: () => new Response(" +
      "[process.pid, process.env.NODE_ENV, process.env.COLOR, process.getuid?.()].join()) };",
  );
  return root;
}

const request = encodeScalar(
  Buffer.from("REQUEST_METHOD\0GET\0PATH_INFO\0/\0REQUEST_URI\0/\0SCRIPT_NAME\0\0"),
);

/** What the instance of a session says it is. */
async function facts(client: RawClient, session: RawSession): Promise<string[]> {
  await sendAll(session.stream.number, request);
  const answer = await readToEnd(session.stream.number);
  await client.closeSession(session);
  return (answer.split("\r\n\r\n")[1] ?? "").split(",");
}

async function admitted(...roots: string[]): Promise<Supervised> {
  const server = new Supervised();
  for (const root of roots) await server.register(root);
  expect(await server.supervisor.ask("admit")).toEqual(["ok"]);
  return server;
}

describe("a worker", () => {
  const scalar = Buffer.from(encodeScalar(Buffer.from("{}"))).toString("latin1");
  const forbidden: readonly (readonly string[])[] = [
    ["clear"],
    ["setMax", "1"],
    ["setMaxPerApp", "1"],
    ["setMaxIdleTime", "0"],
    ["setUseGlobalQueue", "true"],
    ["inspect"],
    ["configure", "/evil"],
    ["register", "/evil"],
    ["retire", "/evil"],
    ["unregister", "/evil"],
    ["admit"],
    ["ping"],
  ];

  test("that says what is not for workers is ended, and nothing has changed", async () => {
    const root = application();
    await using server = await admitted(root);
    const before = (await server.supervisor.inspect()).limits;
    for (const command of forbidden) {
      const worker = await server.workers.connect();
      await worker.send(...command);
      await worker.sendBytes(Buffer.from(scalar, "latin1")).catch(() => {});
      expect(await worker.end()).toBe("");
    }
    const { limits, applications } = await server.supervisor.inspect();
    expect(limits).toEqual(before);
    expect(applications).toEqual([]);
    const other = await server.workers.connect();
    expect((await facts(other, await other.get(root)))[1]).toBe("production");
  });

  test("gets nothing that is not registered, and is told so", async () => {
    const [root, evil] = [application(), application("evil")];
    await using server = await admitted(root);
    const worker = await server.workers.connect();
    await worker.send("get", ...appElements(evil, { appType: "bun" }));
    const [kind, message] = await worker.receive();
    expect(kind).toBe("BusyException");
    expect(message).toContain("there is no such application now");
    const { applications, counters } = await server.supervisor.inspect();
    expect([applications, counters.spawnsPlanned]).toEqual([[], 0]);
    // It goes on: its configuration may just have changed.
    expect((await worker.get(root)).pid).toBeGreaterThan(1);
  });

  test.skipIf(process.geteuid?.() !== 0)(
    "names an application: user, environment and kind are those that were registered",
    async () => {
      const root = application();
      const nobody = findUser("nobody")?.uid ?? 0;
      chownSync(join(root, "server.ts"), nobody, nobody);
      await using server = new Supervised();
      await server.register(root, { env: { COLOR: "blue" } });
      await server.supervisor.ask("admit");
      const worker = await server.workers.connect();
      const evil = { lowerPrivilege: "false", environment: "evil", appType: "wsgi" };
      const session = await worker.get(root, { ...evil, lowestUser: "root" });
      const [, ...rest] = await facts(worker, session);
      expect(rest).toEqual(["production", "blue", String(nobody)]);
    },
  );
});

test("a worker that asks for client after client gets no more than a thousand, and all goes on", async () => {
  const root = application();
  await using server = await admitted(root);
  const first = await server.workers.connect();
  const others: RawClient[] = [];
  for (let i = 0; i < 1100; i += 1) others.push(await server.workers.connect());
  const last = others.at(-1);
  expect(await last?.end()).toBe("");
  expect((await first.get(root)).pid).toBeGreaterThan(1);
  for (const other of others) other.close();
  const fresh = await until("there is room again", async () => {
    const client = await server.workers.connect();
    return client.number("getCount").then(
      () => client,
      () => undefined,
    );
  });
  expect(await fresh.number("getCount")).toBe(1);
});

test("no worker is answered before the supervisor has admitted them", async () => {
  const root = application();
  await using server = new Supervised();
  await server.workers.wake();
  await server.register(root);
  await server.register(application("late"));
  // Its answers have crossed a wake byte that was there before the question.
  expect(receiveDescriptor(server.workers.fd)).toBe("empty");
  expect(await server.supervisor.ask("admit")).toEqual(["ok"]);
  const worker = await server.workers.take();
  expect((await worker.get(root)).pid).toBeGreaterThan(1);
});

test("a supervisor that is gone before it has admitted anybody takes the server along", async () => {
  await using server = new Supervised();
  await server.register(application());
  server.supervisor.close();
  expect(await server.exited).toBe(0);
});

test("retire: processes go, and more are made; unregister: they go, and who waits is refused", async () => {
  const root = application();
  await using server = new Supervised();
  await server.register(root, { concurrency: 1 });
  await server.supervisor.send("setMax", "1");
  await server.supervisor.send("setUseGlobalQueue", "true");
  await server.supervisor.ask("admit");
  const worker = await server.workers.connect();
  const first = await worker.get(root);
  await worker.closeSession(first);
  expect(await server.supervisor.ask("retire", root)).toEqual(["ok"]);
  await untilGone(first.pid);
  const second = await worker.get(root);
  expect(second.pid).not.toBe(first.pid);
  const waiting = await server.workers.connect();
  await waiting.sendGet(root, { appType: "bun" });
  await server.supervisor.untilWaiting(1);
  expect(await server.supervisor.ask("unregister", root)).toEqual(["ok"]);
  expect((await waiting.receive())[0]).toBe("BusyException");
  await worker.closeSession(second);
  await untilGone(second.pid);
  await worker.sendGet(root);
  expect((await worker.receive())[0]).toBe("BusyException");
});

test.each(["bun", "rack"])("unregister ends what is being started: %s", async (type) => {
  const root = temporaryDirectory();
  writeFileSync(join(root, "pid"), "");
  chmodSync(join(root, "pid"), 0o666);
  writeFileSync(
    join(root, "server.ts"),
    "await Bun.write('pid', `${process.pid}`); await new Promise(() => setInterval(Date, 1e3));",
  );
  writeFileSync(join(root, "config.ru"), "File.write('pid', Process.pid); sleep");
  await using server = new Supervised();
  const get = ["true", "nobody", "production", "smart", type];
  await server.send("register", root, { get, options: {} });
  expect(await server.supervisor.receive()).toEqual(["ok"]);
  await server.supervisor.ask("admit");
  const worker = await server.workers.connect();
  await worker.sendGet(root);
  const pid = await until("it starts", () => Number(readFileSync(join(root, "pid"))) || undefined);
  expect(await server.supervisor.ask("unregister", root)).toEqual(["ok"]);
  expect((await worker.receive())[0]).toBe("BusyException");
  await untilGone(pid);
});

test("unregister starts nothing for those who wait, and has no ear for their words", async () => {
  const root = application();
  await using server = new Supervised();
  await server.register(root, { concurrency: 1, maxInstances: 1 });
  await server.supervisor.send("setUseGlobalQueue", "true");
  await server.supervisor.ask("admit");
  const worker = await server.workers.connect();
  await worker.get(root);
  const waiting = await server.workers.connect();
  await waiting.sendGet(root, { appType: "bun", environment: "evil", lowerPrivilege: "false" });
  await server.supervisor.untilWaiting(1);
  expect(await server.supervisor.ask("unregister", root)).toEqual(["ok"]);
  expect((await waiting.receive())[0]).toBe("BusyException");
  expect((await server.supervisor.inspect()).counters.spawnsPlanned).toBe(1);
});

test("what is registered anew holds for what is spawned from then on", async () => {
  const root = application();
  await using server = new Supervised();
  await server.register(root, { env: { COLOR: "blue" } });
  await server.supervisor.ask("admit");
  const worker = await server.workers.connect();
  expect((await facts(worker, await worker.get(root)))[2]).toBe("blue");
  await server.register(root, { env: { COLOR: "red" } });
  await server.supervisor.ask("retire", root);
  expect((await facts(worker, await worker.get(root)))[2]).toBe("red");
});

test("an application whose processes are made otherwise restarts, and no other", async () => {
  const root = application();
  await using server = await admitted(root);
  const worker = await server.workers.connect();
  let [before] = await facts(worker, await worker.get(root));
  const registered = [
    [{ weight: 2, maxRequests: 9, requestTimeoutMs: 9_000 }, "stays"],
    [{ threads: 2 }, "restarts"],
    [{ threads: 2, maxInstances: 3 }, "stays"],
    [{ concurrency: 2 }, "restarts"],
    [{ concurrency: 2, umask: 7 }, "restarts"],
  ] as const;
  for (const [options, what] of registered) {
    await server.register(root, options);
    const [now] = await facts(worker, await worker.get(root));
    expect([options, now === before ? "stays" : "restarts"]).toEqual([options, what]);
    before = now;
  }
});

test("a registration that is too much or wrong is an error, and the rest goes on", async () => {
  await using server = await admitted();
  await server.send("register", "/a", { get: words, options: { concurrency: 0 } });
  expect((await server.supervisor.receive())[0]).toBe("error");
  await server.register("/a", { env: { BIG: "x".repeat(1_900_000) } });
});

serverTests("binary")(
  "a server without a supervisor knows none of its commands",
  {},
  async (server) => {
    for (const [command = "", ...rest] of [
      ["ping"],
      ["admit"],
      ["register", "/a"],
      ["retire", "/a"],
    ]) {
      const client = await server.connect();
      await client.send(command, ...rest);
      expect(await client.end()).toBe("");
      await until("it is logged", () => server.log().includes(`unknown command '${command}'`));
    }
  },
);
