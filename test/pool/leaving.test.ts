// How instances leave: restart, clear, lowered limits, idleness, death.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

describe("a restart", () => {
  test("lets idle instances go, reloads the code, and only then spawns", () => {
    const scene = new Scene();
    scene.warm("/a", 2);
    expect(scene.get("/a", { restart: true })).toEqual([
      "retire i1 restarted",
      "retire i0 restarted",
      "reload /a",
      "spawn s2 /a",
    ]);
  });

  test("takes busy instances out of the pool and lets them finish their sessions", () => {
    const scene = new Scene({ max: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    expect(scene.get("/a", { restart: true })).toEqual(["reload /a", "spawn s1 /a"]);
    expect(scene.sums()).toEqual([0, 0, 1, 1, 1]);
    expect(scene.close(1)).toEqual([]);
    expect(scene.close(2)).toEqual(["retire i0 restarted"]);
    expect(scene.spawned(1)).toEqual(["grant g3 i1"]);
  });

  test("concerns its application alone", () => {
    const scene = new Scene();
    scene.warm("/a", 1);
    scene.warm("/b", 1);
    scene.get("/a", { restart: true });
    expect(scene.get("/b")).toEqual(["grant g3 i1"]);
  });

  test("leaves an instance being spawned to the gets that had arrived before", () => {
    const scene = new Scene();
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    expect(scene.get("/a", { restart: true })).toEqual(["reload /a", "spawn s2 /a"]);
    expect(scene.spawned(1)).toEqual(["grant g2 i1"]);
    expect(scene.pool.count).toBe(0);
    expect(scene.spawned(2)).toEqual(["grant g3 i2"]);
    expect(scene.close(2)).toEqual(["retire i1 outdated"]);
  });

  test("retires an instance being spawned at once if no older get wants it", () => {
    const scene = new Scene();
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.cancel(2);
    scene.get("/a", { restart: true });
    expect(scene.spawned(1)).toEqual(["retire i1 outdated"]);
    expect(scene.sums()).toEqual([0, 0, 1, 1, 1]);
  });

  test("leaves planned spawns as they are: they will have the new code", () => {
    const scene = new Scene({}, { spawnsAtOnce: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/b");
    scene.get("/a");
    expect(scene.get("/a", { restart: true })).toEqual(["reload /a"]);
    expect(scene.spawned(1)).toEqual(["grant g2 i1", "spawn s2 /a"]);
    expect(scene.spawned(2)).toEqual(["grant g3 i2", "spawn s3 /a"]);
  });

  test("an older get may have an instance with the new code", () => {
    const scene = new Scene();
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.get("/a", { restart: true });
    // The spawn from before the restart is of no use to the younger get, which needs one of its own
    // now.
    expect(scene.spawned(2)).toEqual(["grant g2 i1", "spawn s3 /a"]);
    expect(scene.spawned(1)).toEqual(["retire i2 outdated"]);
  });

  test("a failure of code from before it begins no pause", () => {
    const scene = new Scene({}, { failurePause: { firstMs: 10, maxMs: 10 } });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.get("/a");
    scene.get("/a", { restart: true });
    expect(scene.spawnFailed(1)).toEqual(["refuse g2 spawnFailed: it broke"]);
    expect(scene.spawnFailed(2)).toEqual(["refuse g3 spawnFailed: it broke"]);
    expect(scene.snapshot().applications[0]).toMatchObject({ pauseMs: null, waiting: 1 });
  });

  test("is put off while it would have more than max instances finishing outside the pool", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 2);
    scene.get("/a");
    scene.get("/a");
    scene.get("/a", { restart: true });
    scene.spawned(2);
    expect(scene.sums()).toEqual([1, 1, 0, 0, 2]);
    expect(scene.get("/a", { restart: true })).toEqual(["spawn s3 /a"]);
    expect(scene.snapshot().applications[0]?.restartPending).toBe(true);
    // The old ones go on serving meanwhile.
    scene.close(4);
    expect(scene.effects).toEqual(["grant g5 i2"]);
    expect(scene.close(2)).toEqual(["retire i1 restarted"]);
    expect(scene.spawned(3)).toEqual(["reload /a", "retire i3 restarted"].toReversed());
    expect(scene.sums()).toEqual([0, 0, 0, 0, 2]);
  });

  test("is put off only if it has sessions to finish", () => {
    const scene = new Scene({ max: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a", { restart: true });
    scene.spawned(1);
    scene.close(2);
    expect(scene.get("/a", { restart: true })).toEqual([
      "retire i1 restarted",
      "reload /a",
      "spawn s2 /a",
    ]);
  });

  test("that was put off is done when the last instance of its application goes", () => {
    const scene = new Scene({ max: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a", { restart: true });
    scene.spawned(1);
    scene.get("/a", { restart: true });
    expect(scene.died(1)).toEqual(["reload /a"]);
    expect(scene.snapshot().counters.restarts).toBe(2);
  });

  test("that was put off is done when max is raised", () => {
    const scene = new Scene({ max: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a", { restart: true });
    scene.spawned(1);
    scene.get("/a", { restart: true });
    expect(scene.setLimits({ max: 2 })).toEqual(["reload /a"]);
    expect(scene.sums()).toEqual([0, 0, 0, 0, 2]);
  });

  test("those put off are done in the order in which they were asked for", () => {
    const scene = new Scene({ max: 2 });
    for (const app of ["/a", "/b"]) scene.warm(app, 1);
    scene.get("/a");
    scene.get("/b");
    scene.clear();
    scene.get("/a");
    scene.spawned(2);
    scene.get("/b");
    scene.spawned(3);
    scene.get("/b", { restart: true });
    scene.get("/a", { restart: true });
    expect(scene.effects).toEqual(["grant g7 i2"]);
    expect(scene.close(2)).toEqual(["retire i0 cleared", "reload /b"]);
    expect(scene.close(3)).toEqual(["retire i1 cleared", "reload /a"]);
  });

  test("one that fits does not wait for an earlier one that does not", () => {
    const scene = new Scene({ max: 3 });
    for (let spawn = 0; spawn < 3; spawn++) {
      scene.get("/old");
      scene.spawned(spawn);
    }
    scene.clear();
    for (const [at, app] of ["/a", "/a", "/b"].entries()) {
      scene.get(app);
      scene.spawned(3 + at);
    }
    scene.get("/a", { restart: true });
    scene.get("/b", { restart: true });
    expect(scene.close(0)).toEqual(["retire i0 cleared", "reload /b"]);
    expect(scene.snapshot().applications.map((app) => app.restartPending)).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("clear", () => {
  test("empties the pool, idle instances at once, busy ones when their sessions end", () => {
    const scene = new Scene();
    scene.warm("/a", 1);
    scene.warm("/b", 1);
    scene.get("/a");
    expect(scene.clear()).toEqual(["retire i1 cleared"]);
    expect(scene.sums()).toEqual([0, 0, 0, 0, 1]);
    expect(scene.get("/a")).toEqual(["spawn s2 /a"]);
    expect(scene.close(2)).toEqual(["retire i0 cleared"]);
  });

  test("gives the freed places to the gets that wait, first come first served", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.get("/b");
    expect(scene.clear()).toEqual(["spawn s1 /a"]);
  });

  test("leaves an instance being spawned to the gets that had arrived before", () => {
    const scene = new Scene();
    scene.get("/a");
    expect(scene.clear()).toEqual([]);
    expect(scene.get("/a")).toEqual(["spawn s1 /a"]);
    expect(scene.spawned(0)).toEqual(["grant g0 i0"]);
    expect(scene.close(0)).toEqual(["retire i0 outdated"]);
  });

  test("is not bounded by max, but restarts wait for the instances it left", () => {
    const scene = new Scene({ max: 1 });
    for (const spawn of [0, 1]) {
      scene.get("/a");
      scene.spawned(spawn);
      scene.clear();
    }
    expect(scene.sums()).toEqual([0, 0, 0, 0, 2]);
    scene.get("/a");
    scene.spawned(2);
    scene.get("/a", { restart: true });
    expect(scene.snapshot().applications[0]?.restartPending).toBe(true);
  });
});

describe("idleness", () => {
  test("ends an instance after maxIdleMs, counted from its last session's end", () => {
    const scene = new Scene({ maxIdleMs: 1000 });
    scene.warm("/a", 2);
    scene.now = 600;
    scene.get("/a");
    scene.now = 700;
    scene.close(2);
    expect(scene.pool.nextDeadline()).toBe(1000);
    scene.now = 999;
    expect(scene.tick()).toEqual([]);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["retire i0 idle"]);
    expect(scene.pool.nextDeadline()).toBe(1700);
    scene.now = 5000;
    expect(scene.tick()).toEqual(["retire i1 idle"]);
    expect(scene.pool.nextDeadline()).toBe(undefined);
    expect(scene.roots()).toEqual([]);
  });

  test("of zero ends an instance at the next tick, and not before a get that waits has had it", () => {
    const scene = new Scene({ maxIdleMs: 0, max: 1, useGlobalQueue: true });
    scene.get("/a");
    scene.spawned(0);
    scene.get("/a");
    expect(scene.close(0)).toEqual(["grant g1 i0"]);
    expect(scene.close(1)).toEqual([]);
    expect(scene.pool.nextDeadline()).toBe(0);
    expect(scene.tick()).toEqual(["retire i0 idle"]);
  });

  test("is measured anew when the limit changes", () => {
    const scene = new Scene({ maxIdleMs: 1000 });
    scene.warm("/a", 1);
    scene.setLimits({ maxIdleMs: 200 });
    expect(scene.pool.nextDeadline()).toBe(200);
    scene.setLimits({ maxIdleMs: 2_147_483_647_000 });
    expect(scene.pool.nextDeadline()).toBe(2_147_483_647_000);
  });

  test("does not concern an instance with a session, however long", () => {
    const scene = new Scene({ maxIdleMs: 10 });
    scene.get("/a");
    scene.spawned(0);
    scene.now = 1_000_000;
    expect(scene.tick()).toEqual([]);
    expect(scene.pool.nextDeadline()).toBe(undefined);
  });
});

describe("max lowered below what there is", () => {
  test("lets idle instances go at once, longest idle first", () => {
    const scene = new Scene();
    scene.warm("/a", 2);
    scene.warm("/b", 2);
    expect(scene.setLimits({ max: 1 })).toEqual([
      "retire i0 excess",
      "retire i1 excess",
      "retire i2 excess",
    ]);
  });

  test("lets busy instances go as they become idle, until max is kept", () => {
    const scene = new Scene();
    scene.warm("/a", 3);
    for (let n = 0; n < 3; n++) scene.get("/a");
    expect(scene.setLimits({ max: 1 })).toEqual([]);
    expect(scene.pool.count).toBe(3);
    expect(scene.close(3)).toEqual(["retire i2 excess"]);
    expect(scene.close(4)).toEqual(["retire i1 excess"]);
    expect(scene.close(5)).toEqual([]);
    expect(scene.sums()).toEqual([1, 0, 0, 0, 0]);
  });

  test("gives planned spawns up, the last first, after the idle instances", () => {
    const scene = new Scene({}, { spawnsAtOnce: 1 });
    scene.warm("/z", 1);
    for (const app of ["/a", "/b", "/c"]) scene.get(app);
    expect(scene.setLimits({ max: 2 })).toEqual(["retire i0 excess"]);
    expect(scene.sums()).toEqual([0, 0, 3, 2, 0]);
    expect(scene.spawnFailed(1)).toEqual(["refuse g1 spawnFailed: it broke", "spawn s2 /b"]);
    expect(scene.cancel(3)).toEqual([]);
  });

  test("spawns nothing that would go beyond it", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.get("/b");
    scene.spawned(0);
    scene.spawned(1);
    scene.setLimits({ max: 1 });
    expect(scene.get("/c")).toEqual([]);
    expect(scene.close(0)).toEqual(["retire i0 excess"]);
    expect(scene.close(1)).toEqual(["retire i1 evicted", "spawn s2 /c"]);
  });
});

describe("an instance that dies", () => {
  test("idle, leaves the counts at once", () => {
    const scene = new Scene();
    scene.warm("/a", 2);
    expect(scene.died(1)).toEqual(["retire i1 died"]);
    expect(scene.get("/a")).toEqual(["grant g2 i0"]);
  });

  test("busy, leaves the counts at once and is retired when its sessions are closed", () => {
    const scene = new Scene({ max: 1 });
    scene.get("/a");
    scene.spawned(0);
    scene.get("/b");
    expect(scene.died(0)).toEqual(["spawn s1 /b"]);
    expect(scene.sums()).toEqual([0, 0, 1, 1, 0]);
    expect(scene.snapshot().applications[0]?.instances[0]).toMatchObject({
      state: "dead",
      sessions: 1,
    });
    expect(scene.close(0)).toEqual(["retire i0 died"]);
  });

  test("while it finishes its sessions outside, makes room for a restart", () => {
    const scene = new Scene({ max: 1 });
    scene.get("/a");
    scene.spawned(0);
    scene.get("/a", { restart: true });
    scene.spawned(1);
    scene.get("/a", { restart: true });
    expect(scene.died(0)).toEqual(["reload /a"]);
    expect(scene.close(0)).toEqual(["retire i0 restarted"]);
  });
});
