// Instances that cannot be connected to, full backlogs, and mistakes of the caller.

import { describe, expect, test } from "bun:test";
import { Pool } from "../../src/pool/pool.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { requestOf } from "./app-request.ts";
import { Scene } from "./scene.ts";

describe("an instance that cannot be connected to", () => {
  test("leaves the pool, and the get is given the next", () => {
    const scene = new Scene();
    scene.warm("/a", 2);
    scene.get("/a");
    expect(scene.connectFailed(2)).toEqual(["retire i1 unreachable", "grant g2 i0"]);
    expect(scene.sums()).toEqual([1, 1, 0, 0, 0]);
  });

  test("keeps its other sessions until they end", () => {
    const scene = new Scene({ max: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    expect(scene.connectFailed(2)).toEqual(["spawn s1 /a"]);
    expect(scene.sums()).toEqual([0, 0, 1, 1, 1]);
    expect(scene.close(1)).toEqual(["retire i0 unreachable"]);
  });

  test("sends its get back to its place in line, before those that came later", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/b");
    scene.get("/a");
    expect(scene.connectFailed(1)).toEqual(["retire i0 unreachable", "spawn s1 /a"]);
    expect(scene.spawned(1)).toEqual(["grant g1 i1"]);
  });

  test("is tried for ten times, then the get is refused with the cause", () => {
    const scene = new Scene({ max: 20 });
    scene.warm("/a", 12);
    scene.get("/a");
    for (let n = 0; n < 9; n++) {
      expect(scene.connectFailed(12)).toEqual([
        `retire i${11 - n} unreachable`,
        `grant g12 i${10 - n}`,
      ]);
    }
    expect(scene.connectFailed(12, "ENOENT")).toEqual([
      "retire i2 unreachable",
      "refuse g12 cannotConnect: ENOENT",
    ]);
    expect(scene.sums()).toEqual([2, 0, 0, 0, 0]);
  });

  test("may have left the pool for another reason meanwhile", () => {
    const scene = new Scene();
    scene.warm("/a", 1);
    scene.get("/a");
    scene.clear();
    expect(scene.connectFailed(1)).toEqual(["retire i0 cleared", "spawn s1 /a"]);
  });

  test("leaves its get open to withdrawal while it waits again", () => {
    const scene = new Scene({}, { spawnsAtOnce: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/b");
    scene.connectFailed(1);
    expect(scene.cancel(1)).toEqual([]);
    expect(scene.sums()).toEqual([0, 0, 1, 1, 0]);
  });
});

describe("an instance whose backlog is full", () => {
  test("hands the session to the best other one, even a busy one, and stays in the pool", () => {
    const scene = new Scene({ max: 3 });
    scene.warm("/a", 3);
    scene.get("/a");
    scene.get("/a");
    expect(scene.alternative(4)).toBe(0);
    expect(scene.alternative(4)).toBe(2);
    expect(scene.alternative(4)).toBe(undefined);
    expect(scene.sums()).toEqual([3, 1, 0, 0, 0]);
    scene.close(3);
    expect(scene.pool.active).toBe(1);
    scene.close(4);
    expect(scene.pool.active).toBe(0);
  });

  test("gives the get an instance that is spawned later", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawned(0);
    expect(scene.alternative(0)).toBe(undefined);
    scene.get("/a");
    scene.spawned(1);
    expect(scene.alternative(0)).toBe(1);
  });

  test("serves, once free, the next that waits", () => {
    const scene = new Scene({ max: 2, useGlobalQueue: true });
    scene.warm("/a", 2);
    scene.get("/a");
    scene.get("/a");
    scene.get("/a");
    expect(scene.alternative(2)).toBe(0);
    expect(scene.effects).toEqual(["grant g4 i1"]);
  });

  test("is let go if it is leaving and that was its last session", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawned(0);
    scene.clear();
    scene.get("/a");
    scene.spawned(1);
    expect(scene.alternative(0)).toBe(1);
    expect(scene.effects).toEqual(["retire i0 cleared"]);
  });

  test("costs the moved session no trace in what its instance has served", () => {
    const scene = new Scene();
    scene.warm("/a", 2);
    scene.get("/a");
    scene.alternative(2);
    scene.close(2);
    const served = scene.snapshot().applications[0]?.instances.map((instance) => instance.served);
    expect(served).toEqual([2, 1]);
  });
});

describe("a mistake of the caller", () => {
  const now = 0;

  test("throws, and says which id is unknown to which event", () => {
    const pool = new Pool({
      maxWaitMs: 0,
      maxQueue: 0,
      spawnsAtOnce: 1,
      slowSpawnMs: Infinity,
    });
    const id = 7 as never;
    const ready = { pid: 1, concurrency: 1, reportsDone: false };
    expect(() => pool.sessionClosed(id, now)).toThrow(
      "sessionClosed of session 7: no such session",
    );
    expect(() => pool.connectFailed(id, "", now)).toThrow("connectFailed of session 7");
    expect(() => pool.alternative(id, now)).toThrow("alternative of session 7");
    expect(() => pool.spawned(id, ready, now)).toThrow("spawned of spawn 7");
    expect(() => pool.sessionUnused(id, now)).toThrow("sessionUnused of session 7");
    expect(() => pool.sessionLong(id, now)).toThrow("sessionLong of session 7");
    expect(() => pool.sessionsDone(id, 1, now)).toThrow("sessionsDone of 1 of instance 7");
    expect(() => pool.spawnFailed(id, { message: "" }, now)).toThrow("spawnFailed of spawn 7");
    expect(() => pool.instanceDied(id, now)).toThrow("instanceDied of instance 7");
    expect(() => pool.cancel(id, now)).toThrow("cancel of get 7");
  });

  test("closing a session or ending a spawn twice throws", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawned(0);
    expect(() => scene.spawned(0)).toThrow("no such spawn is under way");
    scene.close(0);
    expect(() => scene.close(0)).toThrow("no such session is open");
    expect(() => scene.connectFailed(0)).toThrow("no such session is open");
  });

  test("reporting a death twice throws, before and after the instance is let go", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawned(0);
    scene.died(0);
    expect(() => scene.died(0)).toThrow("it has died already");
    scene.close(0);
    expect(() => scene.died(0)).toThrow("there is no such instance");
  });

  test("withdrawing a get that has been answered is none", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawned(0);
    expect(scene.cancel(0)).toEqual([]);
    expect(scene.sums()).toEqual([1, 1, 0, 0, 0]);
  });

  test("limits that make no sense throw and change nothing", () => {
    const scene = new Scene({ max: 3 });
    expect(() => scene.setLimits({ max: 0 })).toThrow("max is 0, not a whole number of 1 or more");
    expect(() => scene.setLimits({ max: 5, maxPerApp: -1 })).toThrow("maxPerApp is -1");
    expect(() => scene.setLimits({ maxIdleMs: Number.NaN })).toThrow("maxIdleMs is NaN");
    expect(() => scene.configure("/a", 1.5)).toThrow("maxInstances is 1.5");
    expect(scene.pool.limits.max).toBe(3);
    expect(() => new Scene({}, { spawnsAtOnce: 0 })).toThrow("spawnsAtOnce is 0");
    expect(() => new Scene({}, { failurePause: { firstMs: 0, maxMs: 1 } })).toThrow("firstMs is 0");
  });

  test("a concurrency below 1 throws, and the spawn can still be answered", () => {
    const scene = new Scene();
    scene.get("/a");
    expect(() => scene.spawned(0, 0)).toThrow("concurrency is 0");
    expect(() => scene.get("/a", { expects: 0 })).toThrow("expectedConcurrency is 0");
    expect(scene.spawned(0)).toEqual(["grant g0 i0"]);
  });

  test("a time that is no number throws; one that runs backwards counts as the last", () => {
    const pool = new Pool({
      maxWaitMs: 0,
      maxQueue: 0,
      spawnsAtOnce: 1,
      slowSpawnMs: Infinity,
    });
    const request = {
      root: fromText("/a"),
      options: requestOf(""),
      restart: false,
      kept: false,
      expectedConcurrency: 1,
    };
    expect(() => pool.get(request, Number.NaN)).toThrow("the time is not a number");
    pool.get(request, 100);
    pool.tick(50);
    expect(pool.snapshot(50).applications[0]?.waiters[0]?.ageMs).toBe(0);
  });
});
