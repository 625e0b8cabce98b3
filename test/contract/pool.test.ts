/** Section 6: which instance serves a get, and what becomes of instances. */
import { describe, expect } from "bun:test";

import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests } from "../helpers/pool-server.ts";
import { isRunning, untilGone } from "../helpers/processes.ts";
import { exchange, type RawClient, type RawSession } from "../helpers/raw-client.ts";

/** `count` and `active`, as any client sees them. */
async function counts(client: RawClient): Promise<[count: number, active: number]> {
  return [await client.number("getCount"), await client.number("getActive")];
}

async function closeAll(client: RawClient, sessions: readonly RawSession[]): Promise<void> {
  for (const session of sessions) await client.closeSession(session);
}

function pidsOf(sessions: readonly RawSession[]): number[] {
  return sessions.map(({ pid }) => pid);
}

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("a session reaches the instance whose process id it names, and only its own bytes", async (server) => {
    const client = await server.connect();
    const [one, two] = [
      await client.get(server.app("padded")),
      await client.get(server.app("padded")),
    ];
    expect(await exchange(one, "one")).toBe(`${one.pid} one`);
    expect(await exchange(two, "two")).toBe(`${two.pid} two`);
    expect(await counts(client)).toEqual([2, 2]);
  });

  test("the idle instance that was used most recently is used first", async (server) => {
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

  test("while all are busy and there is room, another instance is spawned", async (server) => {
    const client = await server.connect();
    const pids = new Set<number>();
    for (let i = 0; i < 4; i += 1) pids.add((await client.get(server.app("padded"))).pid);
    expect(pids.size).toBe(4);
  });

  test("in a full pool the instance with the fewest sessions is shared", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "2");
    const root = server.app("padded");
    const first = [await client.get(root), await client.get(root)];
    const second = [await client.get(root), await client.get(root)];
    expect(new Set(pidsOf(second))).toEqual(new Set(pidsOf(first)));
    expect(await counts(client)).toEqual([2, 2]);
  });

  test("maxPerApp shares among an application's own instances while other applications have room", async (server) => {
    const client = await server.connect();
    await client.send("setMaxPerApp", "1");
    const [one, two] = [
      await client.get(server.app("padded-a")),
      await client.get(server.app("padded-a")),
    ];
    expect(two.pid).toBe(one.pid);
    expect((await client.get(server.app("padded-b"))).pid).not.toBe(one.pid);
    expect(await counts(client)).toEqual([2, 2]);
  });

  test("the instance that has been idle longest makes room, whatever its application", async (server) => {
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

  test("max below the count lets idle instances go at once, and busy ones when their sessions end", async (server) => {
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

  test("clear sends every instance away, but open sessions go on to their end", async (server) => {
    const client = await server.connect();
    const [busy, idle] = [
      await client.get(server.app("padded-a")),
      await client.get(server.app("padded-b")),
    ];
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

  test("instances that finish their sessions outside the pool take no place in it", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "1");
    const old = await client.get(server.app("padded"));
    await client.send("clear");
    const fresh = await client.get(server.app("padded"));
    expect(await counts(client)).toEqual([1, 1]);
    expect([isRunning(old.pid), isRunning(fresh.pid)]).toEqual([true, true]);
  });

  test("clear while an instance is being spawned: the get before it is served, later ones get a newer instance", async (server) => {
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

  test("idle instances are let go after maxIdleTime, not before, and busy ones never", async (server) => {
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

  test("lowering maxIdleTime counts for those who are idle already", async (server) => {
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

  test("one who got a session and hangs up gives it back, however many he holds", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "3");
    const holder = await server.connect();
    for (let i = 0; i < 50; i += 1) await holder.get(server.app("padded"));
    expect(await counts(client)).toEqual([3, 3]);
    holder.close();
    await until("all are given back", async () => (await client.number("getActive")) === 0);
    expect(await counts(client)).toEqual([3, 0]);
  });
});
