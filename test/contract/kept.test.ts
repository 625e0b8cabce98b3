/** Section 11: kept sessions, and how the server asks for them. */
import { expect } from "bun:test";

import { builtinTest, bunApplication, bunElements } from "../helpers/builtin-server.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests, type ServerUnderTest } from "../helpers/pool-server.ts";
import { nextDescriptor, type RawClient, type RawSession } from "../helpers/raw-client.ts";

countDescriptors();

/** An application whose instances serve so many sessions at once. @returns its root. */
function application(server: ServerUnderTest, name: string, concurrency = 1): Promise<string> {
  const source = "export default { fetch: () => new Response('here') };";
  return bunApplication(server, name, source, { concurrency });
}

async function connectMultiplexed(server: ServerUnderTest): Promise<RawClient> {
  const client = await server.connect();
  await client.openChannel();
  return client;
}

async function sendGetKept(client: RawClient, tag: string, root: string): Promise<void> {
  await client.send("getKept", tag, ...bunElements(root));
}

/** Begins a session that may be kept. */
async function getKept(client: RawClient, tag: string, root: string): Promise<RawSession> {
  await sendGetKept(client, tag, root);
  const [ok, itsTag, pid, id = ""] = await client.receive();
  expect([ok, itsTag]).toEqual(["ok", tag]);
  const stream = client.keep(await nextDescriptor(client.channel.number));
  return { pid: Number(pid), id, stream };
}

async function recalls(client: RawClient) {
  return (await client.inspect()).counters.recalls;
}

/**
 * What recalls came to, of a keeper who answers at once. On a busy machine that can take more than
 * the 20 ms that he has: then the get has gone on without, as in "a get goes on without an answer".
 */
async function answered(client: RawClient) {
  const { timedOut, ...answers } = await recalls(client);
  return timedOut > 0 ? "late" : answers;
}

builtinTest(
  "a get asks for the session open longest before it spawns, and has its instance",
  async (server) => {
    const root = await application(server, "a", 2);
    const keeper = await connectMultiplexed(server);
    await keeper.send("setUseGlobalQueue", "true");
    const kept = await getKept(keeper, "t0", root);
    expect((await getKept(keeper, "t1", root)).pid).toBe(kept.pid);
    await keeper.send("setMax", "1");
    const other = await server.connect();
    await other.send("get", ...bunElements(root));
    expect(await keeper.receive()).toEqual(["recall", "0"]);
    await keeper.closeSession(kept);
    expect((await other.receiveSession()).pid).toBe(kept.pid);
    const answers = { sent: 1, closed: 1, kept: 0 };
    // Where the instance is not done with the one in time, the other is asked for, too.
    const possible = ["late", answers, { ...answers, sent: 2 }];
    expect(possible).toContainEqual(await answered(other));
  },
);

builtinTest(
  "a get spawns once the answer is keep, and who answered is not asked again",
  async (server) => {
    const root = await application(server, "a");
    const keeper = await connectMultiplexed(server);
    const { pid } = await getKept(keeper, "t", root);
    const other = await server.connect();
    await other.send("get", ...bunElements(root));
    expect(await keeper.receive()).toEqual(["recall", "0"]);
    await keeper.send("keep", "0");
    expect((await other.receiveSession()).pid).not.toBe(pid);
    await other.send("setMax", "2");
    // It shares: there is nobody left to be asked.
    await other.send("get", ...bunElements(root));
    await other.receiveSession();
    expect(await keeper.number("getActive")).toBe(2);
    expect(["late", { sent: 1, closed: 0, kept: 1 }]).toContainEqual(await answered(other));
  },
);

builtinTest("a get goes on without an answer", async (server) => {
  const root = await application(server, "a");
  const keeper = await connectMultiplexed(server);
  const kept = await getKept(keeper, "t", root);
  const other = await server.connect();
  await other.send("get", ...bunElements(root));
  expect((await other.receiveSession()).pid).not.toBe(kept.pid);
  expect(await recalls(other)).toEqual({ sent: 1, closed: 0, kept: 0, timedOut: 1 });
  expect(await keeper.receive()).toEqual(["recall", "0"]);
  await keeper.closeSession(kept);
  await until("it is closed", async () => (await keeper.number("getActive")) === 1);
});

builtinTest(
  "an instance of another application that has kept sessions alone makes room",
  async (server) => {
    const [a, b] = [await application(server, "a", 4), await application(server, "b")];
    const keeper = await connectMultiplexed(server);
    await keeper.send("setMax", "1");
    const first = await getKept(keeper, "t0", a);
    const second = await getKept(keeper, "t1", a);
    const { pid } = first;
    const [application0] = (await keeper.inspect()).applications;
    expect(application0?.instances[0]).toMatchObject({ pid, sessions: 2, keptSessions: 2 });
    const other = await server.connect();
    await other.send("get", ...bunElements(b));
    expect(await keeper.receive()).toEqual(["recall", "0"]);
    expect(await keeper.receive()).toEqual(["recall", "1"]);
    await keeper.closeSession(second);
    await keeper.send("keep", "0");
    await keeper.closeSession(first);
    expect((await other.receiveSession()).pid).not.toBe(pid);
    expect(await other.number("getCount")).toBe(1);
  },
);

builtinTest(
  "keep and close overtake a get of the same client that waits for them",
  async (server) => {
    const [a, b] = [await application(server, "a"), await application(server, "b")];
    const keeper = await connectMultiplexed(server);
    await keeper.send("setMax", "1");
    const kept = await getKept(keeper, "t", a);
    await keeper.send("get", ...bunElements(b));
    expect(await keeper.receive()).toEqual(["recall", "0"]);
    await keeper.send("keep", "0");
    const witness = await server.connect();
    await until("keep was heard, or is late", async () => {
      const answer = await answered(witness);
      return answer === "late" || answer.kept === 1;
    });
    await keeper.closeSession(kept);
    expect((await keeper.receiveSession()).id).toBe("1");
  },
);

builtinTest(
  "sessions of instances that leave the pool are asked for, each after the ok that names it",
  async (server) => {
    const count = 280;
    const root = await application(server, "a", 1000);
    const keeper = await connectMultiplexed(server);
    for (let i = 0; i < count; i += 1) await sendGetKept(keeper, `t${i}`, root);
    const seen: string[] = [];
    for (let i = 0; i < 278; i += 1) seen.push((await keeper.receive()).join(" "));
    const witness = await server.connect();
    await until("all are granted", async () => (await witness.inspect()).sessions === count);
    await witness.send("clear");
    for (let i = 0; i < 278; i += 1) expect(await keeper.receive()).toEqual(["recall", String(i)]);
    // The channel is full: two oks are held back, and what is to come after them.
    for (let i = 0; i < count; i += 1) (await nextDescriptor(keeper.channel.number)).close();
    for (let i = 278; i < count; i += 1) {
      const [ok, tag, , id] = await keeper.receive();
      expect([ok, tag, id]).toEqual(["ok", `t${i}`, String(i)]);
      expect(await keeper.receive()).toEqual(["recall", String(i)]);
    }
    expect(seen.every((reply, i) => reply.startsWith(`ok t${i} `))).toBe(true);
    expect(await recalls(witness)).toMatchObject({ sent: count });
  },
);

builtinTest(
  "keep and close of what is no open session are ignored, and so is keep unasked",
  async (server) => {
    const root = await application(server, "a");
    const keeper = await connectMultiplexed(server);
    await keeper.send("setUseGlobalQueue", "true");
    await keeper.send("setMax", "1");
    const kept = await getKept(keeper, "t", root);
    for (const id of ["0", "1", "7", "-1"]) await keeper.send("keep", id);
    for (const id of ["1", "7", "-1"]) await keeper.send("close", id);
    const other = await server.connect();
    await other.send("get", ...bunElements(root));
    expect(await keeper.receive()).toEqual(["recall", "0"]);
    await keeper.closeSession(kept);
    await keeper.send("keep", "0");
    await keeper.send("close", "0");
    expect((await other.receiveSession()).pid).toBe(kept.pid);
  },
);

builtinTest(
  "a client that goes away with kept sessions gives them to who waits",
  async (server) => {
    const [a, b] = [await application(server, "a"), await application(server, "b")];
    const keeper = await connectMultiplexed(server);
    await keeper.send("setMax", "1");
    await getKept(keeper, "t", a);
    const other = await server.connect();
    await other.send("get", ...bunElements(b));
    expect(await keeper.receive()).toEqual(["recall", "0"]);
    keeper.close();
    await other.receiveSession();
  },
);

for (const kind of serverKinds) {
  serverTests(kind)(
    `getKept ends its client where a 2.0 spawn server makes the instances (${kind})`,
    async (server) => {
      const client = await connectMultiplexed(server);
      await sendGetKept(client, "t", server.app("padded"));
      expect(await client.end()).toBe("");
      expect(server.log()).toContain("only instances of the built-in spawner keep sessions");
    },
  );
}

builtinTest("getKept needs the descriptor channel", async (server) => {
  const client = await server.connect();
  await sendGetKept(client, "t", await application(server, "a"));
  expect(await client.end()).toBe("");
});
