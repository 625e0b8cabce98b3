/**
 * A full pool is shared: an application that finds it taken by others, who hang in their starts or
 * hold all their processes, has one of its own soon, and then as many as are its share.
 */
import { expect } from "bun:test";

import {
  builtin,
  configure,
  faultTests,
  request,
  sendRequest,
  writeFiles,
} from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { languages } from "../helpers/languages.ts";
import type { ServerSetup, ServerUnderTest } from "../helpers/pool-server.ts";
import { isRunning } from "../helpers/processes.ts";

countDescriptors();
const faultTest = faultTests();

const [bun] = languages;
if (bun === undefined) throw new Error("there are no languages");
const { file, options, programs } = bun;

function sharing(max: number, shareAfterSeconds = 0.3): ServerSetup {
  return { ...builtin, max, binary: { builtin: true, shareAfterSeconds } };
}

/** The processes of an application that are in the pool. */
async function processesOf(server: ServerUnderTest, root: string): Promise<number[]> {
  const client = await server.connect();
  const { applications } = await client.inspect();
  client.close();
  const instances = applications.find((application) => application.root === root)?.instances ?? [];
  return instances.filter(({ state }) => state !== "leaving").map(({ pid }) => pid);
}

faultTest(
  "six applications that hang in their starts keep nobody out, though the pool has four places",
  sharing(4),
  async (server) => {
    const client = await server.connect();
    const waiting = [];
    for (let i = 0; i < 6; i += 1) {
      const root = writeFiles(server, `hanging-${i}`, { [file]: programs.hangs });
      await configure(client, root, { spawnTimeoutMs: 8_000 });
      const waiter = await server.connect();
      await waiter.sendGet(root, options);
      waiting.push(waiter);
    }
    await until("four of them start", async () => (await client.inspect()).spawning === 4);
    const root = writeFiles(server, "good", { [file]: programs.serves });
    const { pid, body } = await request(client, root, options);
    expect(body).toBe(String(pid));
    // None of them has come to its end: it was not waited for.
    expect((await client.inspect()).counters.spawnsFailed).toBe(0);
    for (const waiter of waiting) expect((await waiter.receive())[0]).toBe("SpawnException");
  },
);

faultTest(
  "an application that holds all places is asked for one, and keeps its share",
  sharing(4),
  async (server) => {
    const client = await server.connect();
    await client.send("setUseGlobalQueue", "true");
    const flood = writeFiles(server, "flood", { [file]: programs.serves });
    await configure(client, flood, { concurrency: 1 });
    const held = [];
    for (let i = 0; i < 4; i += 1) held.push(await client.get(flood, options));
    const good = writeFiles(server, "good", { [file]: programs.serves });
    await configure(client, good, { concurrency: 1 });
    const others = [await server.connect(), await server.connect(), await server.connect()];
    for (const other of others) await other.sendGet(good, options);
    await until("it has its half", async () => (await processesOf(server, good)).length === 2);
    expect(await processesOf(server, flood)).toHaveLength(2);
    // The processes that had to go still answer.
    for (const session of held) {
      expect(isRunning(session.pid)).toBe(true);
      await sendRequest(session);
      await client.closeSession(session);
    }
    for (const other of others) await other.closeSession(await other.receiveSession());
  },
);

faultTest(
  "who hangs loses his place to an application that has none, and not who has just answered",
  sharing(2, 2),
  async (server) => {
    const client = await server.connect();
    const [hung, good, other] = ["hung", "good", "other"].map((name) =>
      writeFiles(server, name, { [file]: programs.serves }),
    ) as [string, string, string];
    for (const root of [hung, good, other]) await configure(client, root, { concurrency: 1 });
    const session = await client.get(hung, options);
    const { pid } = await request(client, good, options);
    await until("nothing was heard of it for two seconds", async () => {
      const { applications } = await client.inspect();
      const instances = applications.find(({ root }) => root === hung)?.instances ?? [];
      return (instances[0]?.unusedMs ?? 0) > 2_000;
    });
    await request(client, good, options);
    await request(client, other, options);
    expect(await processesOf(server, good)).toEqual([pid]);
    expect(await processesOf(server, hung)).toEqual([]);
    // It finishes what it has.
    expect(isRunning(session.pid)).toBe(true);
    await sendRequest(session);
    await client.closeSession(session);
  },
);
