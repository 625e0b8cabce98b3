/** Each process killed outright in turn: what goes with it, and what goes on. */
import { expect, test } from "bun:test";

import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverTests, ServerUnderTest } from "../helpers/pool-server.ts";
import { isRunning, killIfThere, markedProcesses, stop } from "../helpers/processes.ts";
import { exchange } from "../helpers/raw-client.ts";

countDescriptors();
const binaryTest = serverTests("binary");

test("the server, killed with 10 busy instances: clients see the end, nothing else lives on", async () => {
  const server = await ServerUnderTest.start("binary", {});
  const client = await server.connect();
  const pids = [];
  for (let i = 0; i < 10; i += 1) pids.push((await client.get(server.app(`padded-${i % 3}`))).pid);
  process.kill(server.pid, "SIGKILL");
  expect(await within("its end", server.ended)).toBe("SIGKILL");
  expect(await client.end()).toBe("");
  server.parent.closeClients();
  await until("every process is gone", () => markedProcesses(server.mark).length === 0);
  expect(pids.some(isRunning)).toBe(false);
  server.parent.close();
  server.remove();
});

test("the server, killed in the middle of a spawn: what was being made goes as well", async () => {
  const server = await ServerUnderTest.start("binary", {});
  const client = await server.connect();
  await client.sendGet(server.app("slow-200"));
  await until("the spawn is under way", () => server.commands().length === 1);
  await server.checkKilled();
});

binaryTest(
  "every process of the server, killed again and again: a get afterwards is served",
  async (server) => {
    const client = await server.connect();
    for (let round = 0; round < 5; round += 1) {
      await client.get(server.app("padded"));
      for (const { pid } of markedProcesses(server.mark)) {
        if (pid !== server.pid) killIfThere(pid);
      }
      const session = await client.get(server.app("padded"));
      expect(await exchange(session, "alive")).toBe(`${session.pid} alive`);
    }
  },
);

binaryTest(
  "a client that is killed with 50 sessions and a get waiting gives everything back",
  async (server) => {
    const watcher = await server.connect();
    await watcher.send("setMax", "2");
    const victim = await server.connect();
    for (let i = 0; i < 50; i += 1) await victim.get(server.app("padded"));
    await victim.sendGet(server.app("padded-other"));
    await watcher.untilWaiting(1);
    victim.close();
    await until("all is given back", async () => {
      const { sessions, waiting, active } = await watcher.inspect();
      return sessions + waiting + active === 0;
    });
  },
);

binaryTest(
  "stopped instances and a stopped spawn server do not stop the server",
  async (server) => {
    const client = await server.connect();
    const warm = await client.get(server.app("padded"));
    const stopped = [await server.spawnServerPid(), warm.pid];
    for (const pid of stopped) await stop(pid);
    await client.closeSession(warm);
    const again = await client.get(server.app("padded"));
    expect(again.pid).toBe(warm.pid);
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded-new"));
    expect(await client.number("getCount")).toBe(1);
    for (const pid of stopped) process.kill(pid, "SIGCONT");
    expect(await exchange(again, "awake")).toBe(`${again.pid} awake`);
    await waiter.receiveSession();
  },
);
