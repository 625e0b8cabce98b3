/** Section 6: which instance serves a get, and what becomes of instances. */
import { describe, expect } from "bun:test";

import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests } from "../helpers/pool-server.ts";
import { isRunning } from "../helpers/processes.ts";
import { appElements, exchange, frame, type RawClient, type RawSession } from "../helpers/raw-client.ts";

/** `count` and `active`, as any client sees them. */
async function counts(client: RawClient): Promise<[count: number, active: number]> {
  return [await client.number("getCount"), await client.number("getActive")];
}

async function untilGone(pid: number): Promise<void> {
  await until(`process ${pid} has left`, () => !isRunning(pid));
}

async function closeAll(client: RawClient, sessions: readonly RawSession[]): Promise<void> {
  for (const session of sessions) await client.closeSession(session);
}

describe.each([...serverKinds])("%s", (kind) => {
  const claim = serverTests(kind);
  countDescriptors();

  claim("a session reaches the instance whose process id it names, and only its own bytes", async (server) => {
    const client = await server.connect();
    const [one, two] = [await client.get(server.app("padded")), await client.get(server.app("padded"))];
    expect(await exchange(one, "one")).toBe(`${one.pid} one`);
    expect(await exchange(two, "two")).toBe(`${two.pid} two`);
    expect(await counts(client)).toEqual([2, 2]);
  });

  claim("the idle instance that was used most recently is used first", async (server) => {
    const client = await server.connect();
    const root = server.app("padded");
    const sessions = [await client.get(root), await client.get(root), await client.get(root)];
    const [a, b, c] = sessions;
    if (a === undefined || b === undefined || c === undefined) throw new Error("three sessions");
    await closeAll(client, [b, c, a]);
    const order = [];
    for (let i = 0; i < 3; i += 1) order.push((await client.get(root)).pid);
    expect(order).toEqual([a.pid, c.pid, b.pid]);
  });

  claim("while all are busy and there is room, another instance is spawned", async (server) => {
    const client = await server.connect();
    const pids = new Set<number>();
    for (let i = 0; i < 4; i += 1) pids.add((await client.get(server.app("padded"))).pid);
    expect(pids.size).toBe(4);
  });

  claim("in a full pool the instance with the fewest sessions is shared", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "2");
    const root = server.app("padded");
    const first = [await client.get(root), await client.get(root)];
    const second = [await client.get(root), await client.get(root)];
    const pids = (sessions: readonly RawSession[]) => sessions.map(({ pid }) => pid).toSorted();
    expect(pids(second)).toEqual(pids(first));
    expect(await counts(client)).toEqual([2, 2]);
  });

  claim("maxPerApp shares among an application's own instances while other applications have room", async (server) => {
    const client = await server.connect();
    await client.send("setMaxPerApp", "1");
    const [one, two] = [await client.get(server.app("padded-a")), await client.get(server.app("padded-a"))];
    expect(two.pid).toBe(one.pid);
    expect((await client.get(server.app("padded-b"))).pid).not.toBe(one.pid);
    expect(await counts(client)).toEqual([2, 2]);
  });

  claim("with the global queue a get of a full pool waits for a free instance, and is not bound to a busy one", async (server) => {
    const client = await server.connect();
    for (const command of [["setMax", "2"], ["setUseGlobalQueue", "true"]]) await client.send(...command);
    const root = server.app("padded");
    const [slow, quick] = [await client.get(root), await client.get(root)];
    const waiter = await server.connect();
    await waiter.sendGet(root);
    await client.untilWaiting(1);
    await client.closeSession(quick);
    expect((await waiter.receiveSession()).pid).toBe(quick.pid);
    expect(slow.stream.open).toBe(true);
  });

  claim("switching the global queue off serves those who wait at once", async (server) => {
    const client = await server.connect();
    for (const command of [["setMax", "1"], ["setUseGlobalQueue", "true"]]) await client.send(...command);
    const held = await client.get(server.app("padded"));
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded"));
    await client.untilWaiting(1);
    await client.send("setUseGlobalQueue", "false");
    expect((await waiter.receiveSession()).pid).toBe(held.pid);
  });

  claim("in a pool full of busy instances a new application waits, and gets the place of the first that is free", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "2");
    const [a, b] = [await client.get(server.app("padded-a")), await client.get(server.app("padded-b"))];
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded-c"));
    await client.untilWaiting(1);
    await client.closeSession(b);
    const c = await waiter.receiveSession();
    await untilGone(b.pid);
    expect([isRunning(a.pid), isRunning(c.pid)]).toEqual([true, true]);
    expect(await counts(client)).toEqual([2, 2]);
  });

  claim("the instance that has been idle longest makes room, whatever its application", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "3");
    const oldest = await client.get(server.app("padded-a"));
    const middle = await client.get(server.app("padded-b"));
    const busy = await client.get(server.app("padded-b"));
    await closeAll(client, [oldest, middle]);
    await client.get(server.app("padded-c"));
    await untilGone(oldest.pid);
    expect([isRunning(middle.pid), isRunning(busy.pid)]).toEqual([true, true]);
    expect(await counts(client)).toEqual([3, 2]);
  });

  claim("waiters are served first come, first served", async (server) => {
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

  claim("a waiter that disconnects leaves the queue, and the next is served in its stead", async (server) => {
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

  claim("raising max, or maxPerApp, serves those who wait at once", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "1");
    const held = await client.get(server.app("padded-a"));
    const waiter = await server.connect();
    await waiter.sendGet(server.app("padded-b"));
    await client.untilWaiting(1);
    await client.send("setMax", "2");
    expect((await waiter.receiveSession()).pid).not.toBe(held.pid);
    for (const command of [["setMax", "3"], ["setMaxPerApp", "1"], ["setUseGlobalQueue", "true"]]) {
      await client.send(...command);
    }
    await waiter.sendGet(server.app("padded-a"));
    await client.untilWaiting(1);
    await client.send("setMaxPerApp", "2");
    expect((await waiter.receiveSession()).pid).not.toBe(held.pid);
  });

  claim("max below the count lets idle instances go at once, and busy ones when their sessions end", async (server) => {
    const client = await server.connect();
    const root = server.app("padded");
    const [a, b, c] = [await client.get(root), await client.get(root), await client.get(root)];
    await client.closeSession(a);
    await client.send("setMax", "1");
    await untilGone(a.pid);
    expect(await counts(client)).toEqual([2, 2]);
    expect(await exchange(b, "still here")).toBe(`${b.pid} still here`);
    await client.closeSession(b);
    await untilGone(b.pid);
    expect(await counts(client)).toEqual([1, 1]);
    expect(isRunning(c.pid)).toBe(true);
  });

  claim("clear sends every instance away, but open sessions go on to their end", async (server) => {
    const client = await server.connect();
    const [busy, idle] = [await client.get(server.app("padded-a")), await client.get(server.app("padded-b"))];
    await client.closeSession(idle);
    await client.send("clear");
    expect(await counts(client)).toEqual([0, 0]);
    await untilGone(idle.pid);
    expect(await exchange(busy, "go on")).toBe(`${busy.pid} go on`);
    const fresh = await client.get(server.app("padded-a"));
    expect(fresh.pid).not.toBe(busy.pid);
    expect(isRunning(busy.pid)).toBe(true);
    await client.closeSession(busy);
    await untilGone(busy.pid);
    expect(await counts(client)).toEqual([1, 1]);
  });

  claim("instances that finish their sessions outside the pool take no place in it", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "1");
    const old = await client.get(server.app("padded"));
    await client.send("clear");
    const fresh = await client.get(server.app("padded"));
    expect(await counts(client)).toEqual([1, 1]);
    expect([isRunning(old.pid), isRunning(fresh.pid)]).toEqual([true, true]);
  });

  claim("clear while an instance is being spawned: the get before it is served, later ones get a newer instance", async (server) => {
    const client = await server.connect();
    const root = server.app("slow-200");
    await client.sendGet(root);
    await until("the spawn is under way", () => server.commands().length === 1);
    const other = await server.connect();
    await other.send("clear");
    await other.sendGet(root);
    const [before, after] = [await client.receiveSession(), await other.receiveSession()];
    expect(after.pid).not.toBe(before.pid);
    expect(await counts(other)).toEqual([1, 1]);
    await client.closeSession(before);
    await untilGone(before.pid);
  });

  claim("idle instances are let go after maxIdleTime, not before, and busy ones never", async (server) => {
    const client = await server.connect();
    await client.send("setMaxIdleTime", "1");
    const root = server.app("padded");
    const [idle, busy] = [await client.get(root), await client.get(root)];
    const closedAt = performance.now();
    await client.closeSession(idle);
    await untilGone(idle.pid);
    expect(performance.now() - closedAt).toBeGreaterThan(950);
    expect(await counts(client)).toEqual([1, 1]);
    expect(await exchange(busy, "busy")).toBe(`${busy.pid} busy`);
  });

  claim("with maxIdleTime 0 an instance goes with its last session, unless somebody waits for it", async (server) => {
    const client = await server.connect();
    for (const command of [["setMaxIdleTime", "0"], ["setMax", "1"], ["setUseGlobalQueue", "true"]]) {
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

  claim("lowering maxIdleTime counts for those who are idle already", async (server) => {
    const client = await server.connect();
    const session = await client.get(server.app("padded"));
    await client.closeSession(session);
    for (let seconds = 100; seconds > 90; seconds -= 1) {
      await client.send("setMaxIdleTime", String(seconds));
    }
    expect(await counts(client)).toEqual([1, 0]);
    await client.send("setMaxIdleTime", "0");
    await untilGone(session.pid);
    await client.untilCount(0);
  });

  claim("one who got a session and hangs up gives it back, however many he holds", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "3");
    const holder = await server.connect();
    for (let i = 0; i < 50; i += 1) await holder.get(server.app("padded"));
    expect(await counts(client)).toEqual([3, 3]);
    holder.close();
    await until("all are given back", async () => (await client.number("getActive")) === 0);
    expect(await counts(client)).toEqual([3, 0]);
  });

  claim("an instance spawned for one who has left joins the pool", async (server) => {
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

  claim("100 first gets at once of a cold application are all answered by at most max instances", async (server) => {
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

  claim("30 cold applications at once in a pool of 5 are all served, and the pool never grows beyond", async (server) => {
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

  claim("50 gets of a warm application take no notice of another's spawn that takes 3 seconds", async (server) => {
    const client = await server.connect();
    await client.closeSession(await client.get(server.app("padded")));
    const slow = await server.connect();
    await slow.sendGet(server.app("slow-3000"));
    await until("the spawn is under way", () => server.commands().length === 2);
    const began = performance.now();
    for (let i = 0; i < 50; i += 1) {
      await client.closeSession(await client.get(server.app("padded")));
      await client.number("getCount");
    }
    expect(performance.now() - began).toBeLessThan(500);
    expect((await client.inspect()).counters.spawnsDone).toBe(1);
  });

  claim("a get that waits longer than --max-wait is refused as busy", { max: 1, maxWaitSeconds: 0.1 }, async (server) => {
    const client = await server.connect();
    await client.get(server.app("padded-a"));
    const [name, message, ...rest] = await client.ask("get", ...appElements(server.app("padded-b")));
    expect([name, rest]).toEqual(["BusyException", []]);
    expect(message).toStartWith("The application pool is too busy: ");
    expect((await client.inspect()).waiting).toBe(0);
  });

  claim("a get beyond --max-queue is refused as busy at once, those before it wait on", { max: 1, maxQueue: 2 }, async (server) => {
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
  });

  claim("what clients say and do in any order never makes a count wrong", async (server) => {
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
