/** Section 6: gets that cannot be served at once: who waits for what, and who is served first. */
import { describe, expect } from "bun:test";

import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests } from "../helpers/pool-server.ts";
import { isRunning, untilGone } from "../helpers/processes.ts";
import { appElements, exchange, frame, type RawClient } from "../helpers/raw-client.ts";

/** `count` and `active`, as any client sees them. */
async function counts(client: RawClient): Promise<[count: number, active: number]> {
  return [await client.number("getCount"), await client.number("getActive")];
}

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("with the global queue a get of a full pool waits for a free instance, and is not bound to a busy one", async (server) => {
    const client = await server.connect();
    for (const command of [
      ["setMax", "2"],
      ["setUseGlobalQueue", "true"],
    ]) {
      await client.send(...command);
    }
    const root = server.app("padded");
    const [slow, quick] = [await client.get(root), await client.get(root)];
    const waiter = await server.connect();
    await waiter.sendGet(root);
    await client.untilWaiting(1);
    await client.closeSession(quick);
    expect((await waiter.receiveSession()).pid).toBe(quick.pid);
    expect(slow.stream.open).toBe(true);
  });

  test("switching the global queue off serves those who wait at once", async (server) => {
    const client = await server.connect();
    for (const command of [
      ["setMax", "1"],
      ["setUseGlobalQueue", "true"],
    ]) {
      await client.send(...command);
    }
    const held = await client.get(server.app("padded"));
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded"));
    await client.untilWaiting(1);
    await client.send("setUseGlobalQueue", "false");
    expect((await waiter.receiveSession()).pid).toBe(held.pid);
  });

  test("in a pool full of busy instances a new application waits, and gets the place of the first that is free", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "2");
    const [a, b] = [
      await client.get(server.app("padded-a")),
      await client.get(server.app("padded-b")),
    ];
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded-c"));
    await client.untilWaiting(1);
    await client.closeSession(b);
    const c = await waiter.receiveSession();
    await untilGone(b.pid);
    expect([isRunning(a.pid), isRunning(c.pid)]).toEqual([true, true]);
    expect(await counts(client)).toEqual([2, 2]);
  });

  test("waiters are served first come, first served", async (server) => {
    const holder = await server.connect();
    await holder.send("setMax", "1");
    let held = await holder.get(server.app("padded-a"));
    const waiters = [];
    for (let i = 0; i < 4; i += 1) {
      const waiter = await server.connect();
      await waiter.sendGet(server.app(`padded-${"bcde"[i]}`));
      await holder.untilWaiting(i + 1);
      waiters.push(waiter);
    }
    let client = holder;
    for (const [i, waiter] of waiters.entries()) {
      await client.closeSession(held);
      held = await waiter.receiveSession();
      await holder.untilWaiting(3 - i);
      client = waiter;
    }
  });

  test("a waiter that disconnects leaves the queue, and the next is served in its stead", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "1");
    const held = await client.get(server.app("padded-a"));
    const [first, second] = [await server.connect(), await server.connect()];
    await first.sendGet(server.app("padded-b"));
    await client.untilWaiting(1);
    await second.sendGet(server.app("padded-c"));
    await client.untilWaiting(2);
    first.close();
    await client.untilWaiting(1);
    await client.closeSession(held);
    await second.receiveSession();
    expect(server.commands().some((line) => line.includes("padded-b"))).toBe(false);
  });

  test("raising max, or maxPerApp, serves those who wait at once", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "1");
    const held = await client.get(server.app("padded-a"));
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded-b"));
    await client.untilWaiting(1);
    await client.send("setMax", "2");
    expect((await waiter.receiveSession()).pid).not.toBe(held.pid);
    for (const command of [
      ["setMax", "3"],
      ["setMaxPerApp", "1"],
      ["setUseGlobalQueue", "true"],
    ]) {
      await client.send(...command);
    }
    await waiter.sendGet(server.app("padded-a"));
    await client.untilWaiting(1);
    await client.send("setMaxPerApp", "2");
    expect((await waiter.receiveSession()).pid).not.toBe(held.pid);
  });

  test("with maxIdleTime 0 an instance goes with its last session, unless somebody waits for it", async (server) => {
    const client = await server.connect();
    for (const command of [
      ["setMaxIdleTime", "0"],
      ["setMax", "1"],
      ["setUseGlobalQueue", "true"],
    ]) {
      await client.send(...command);
    }
    const first = await client.get(server.app("padded"));
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded"));
    await client.untilWaiting(1);
    await client.closeSession(first);
    const second = await waiter.receiveSession();
    expect(second.pid).toBe(first.pid);
    await waiter.closeSession(second);
    await untilGone(first.pid);
    expect(await counts(client)).toEqual([0, 0]);
  });

  test("an instance spawned for one who has left joins the pool", async (server) => {
    const client = await server.connect();
    await client.sendGet(server.app("slow-200"));
    await until("the spawn is under way", () => server.commands().length === 1);
    client.close();
    const other = await server.connect();
    await other.untilCount(1);
    expect(await counts(other)).toEqual([1, 0]);
    await other.get(server.app("slow-200"));
    expect(server.commands()).toHaveLength(1);
  });

  test("100 first gets at once of a cold application are all answered by at most max instances", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "4");
    const clients = [];
    for (let i = 0; i < 100; i += 1) clients.push(await server.connect());
    for (const each of clients) await each.sendGet(server.app("padded"));
    const pids = new Set<number>();
    for (const each of clients) pids.add((await each.receiveSession()).pid);
    expect(pids.size).toBeLessThanOrEqual(4);
    expect(server.commands().length).toBeLessThanOrEqual(4);
    expect(await counts(client)).toEqual([pids.size, pids.size]);
  });

  test("30 cold applications at once in a pool of 5 are all served, and the pool never grows beyond", async (server) => {
    const watcher = await server.connect();
    await watcher.send("setMax", "5");
    const served = [];
    for (let i = 0; i < 30; i += 1) {
      const client = await server.connect();
      await client.sendGet(server.app(`padded-${i}`));
      served.push(client.receiveSession().then((session) => client.closeSession(session)));
    }
    await Promise.all(served);
    expect((await watcher.inspect()).counters.peakCount).toBeLessThanOrEqual(5);
    await watcher.untilCount(5);
  });

  test("50 gets of a warm application take no notice of another's spawn that does not end", async (server) => {
    const client = await server.connect();
    await client.closeSession(await client.get(server.app("padded")));
    const slow = await server.connect();
    await slow.sendGet(server.app("hang"));
    await until("the spawn is under way", () => server.commands().length === 2);
    for (let i = 0; i < 50; i += 1) {
      await client.closeSession(await client.get(server.app("padded")));
      await client.number("getCount");
    }
    expect((await client.inspect()).counters.spawnsDone).toBe(1);
  });

  test(
    "a get that waits longer than --max-wait is refused as busy",
    { max: 1, maxWaitSeconds: 1 },
    async (server) => {
      const client = await server.connect();
      await client.get(server.app("padded-a"));
      const [name, message, ...rest] = await client.ask(
        "get",
        ...appElements(server.app("padded-b")),
      );
      expect([name, rest]).toEqual(["BusyException", []]);
      expect(message).toStartWith("The application pool is too busy: ");
      expect((await client.inspect()).waiting).toBe(0);
    },
  );

  test(
    "a get beyond --max-queue is refused as busy at once, those before it wait on",
    { max: 1, maxQueue: 2 },
    async (server) => {
      const client = await server.connect();
      const held = await client.get(server.app("padded-a"));
      const waiters = [await server.connect(), await server.connect()];
      for (const waiter of waiters) await waiter.sendGet(server.app("padded-b"));
      await client.untilWaiting(2);
      const last = await server.connect();
      const [name, message] = await last.ask("get", ...appElements(server.app("padded-c")));
      expect(name).toBe("BusyException");
      expect(message).toStartWith("The application pool is too busy: ");
      await client.closeSession(held);
      for (const waiter of waiters) {
        await waiter.closeSession(await waiter.receiveSession());
      }
    },
  );

  test("clients that hang up right after asking, or before they have read, keep nothing", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "3");
    await client.closeSession(await client.get(server.app("padded")));
    for (let i = 0; i < 60; i += 1) {
      const hasty = await server.connect();
      await hasty.sendGet(server.app(i % 10 === 0 ? `padded-${i}` : "padded"));
      // Some are gone before the server sees the get, some after the reply was sent.
      if (i % 2 === 0) await client.number("getCount");
      hasty.close();
    }
    await until("all sessions are given back", async () => {
      const { sessions, waiting, spawning } = await client.inspect();
      return sessions + waiting + spawning === 0;
    });
    const session = await client.get(server.app("padded"));
    expect(await exchange(session, "well")).toBe(`${session.pid} well`);
  });

  test("what clients say and do in any order never makes a count wrong", async (server) => {
    const clients = [await server.connect(), await server.connect(), await server.connect()];
    const [first] = clients;
    if (first === undefined) throw new Error("no client");
    await first.send("setMax", "3");
    for (let round = 0; round < 10; round += 1) {
      for (const [i, client] of clients.entries()) {
        await client.sendBytes(
          Buffer.concat([
            frame("get", ...appElements(server.app(`padded-${(round + i) % 4}`))),
            frame("clear"),
            frame("close", String(round)),
            frame("getCount"),
          ]),
        );
      }
      for (const client of clients) {
        (await client.receiveSession()).stream.close();
        expect(Number(await client.receive())).toBeLessThanOrEqual(3);
      }
    }
    await first.send("clear");
    await until("nothing is left", async () => {
      const { count, active, sessions, waiting, spawning, leaving } = await first.inspect();
      return count + active + sessions + waiting + spawning + leaving === 0;
    });
  });
});
