// Instances that are replaced without a gap: rolling restarts, and instances that have served
// enough, are old, or have grown.

import { describe, expect, test } from "bun:test";

import { Scene } from "./scene.ts";

/** An application with rolling restarts and so many idle instances. */
function rolling(instances: number, max = 10): Scene {
  const limits = { max, useGlobalQueue: true };
  const scene = new Scene(limits, { failurePause: { firstMs: 1000, maxMs: 30_000 } });
  scene.configure("/a", { isRolling: true });
  scene.warm("/a", instances);
  return scene;
}

function reasons(scene: Scene): unknown[] {
  return scene.snapshot().applications[0]?.instances.map(({ worn }) => worn) ?? [];
}

function rollout(scene: Scene): unknown {
  return scene.snapshot().applications[0]?.rollout;
}

/** Of all, and of the application; and those of it that were given up. */
function restarts(scene: Scene): unknown[] {
  const { counters, applications } = scene.snapshot();
  const own = applications[0]?.counters;
  return [counters.restarts, own?.restarts, own?.restartsRefused];
}

describe("a rolling restart", () => {
  test("has a new instance ready before the old one goes", () => {
    const scene = rolling(1);
    scene.now = 10;
    expect(scene.get("/a", { restart: true })).toEqual(["reload /a", "grant g1 i0", "spawn s1 /a"]);
    expect(rollout(scene)).toBe("trying");
    expect(scene.close(1)).toEqual([]);
    expect(scene.spawned(1)).toEqual(["retire i0 restarted", "rolled out /a done"]);
    expect(scene.get("/a")).toEqual(["grant g2 i1"]);
    expect(rollout(scene)).toBe(null);
  });

  test("replaces the instances that are used one after the other", () => {
    const scene = rolling(2);
    scene.get("/a");
    scene.get("/a");
    scene.restart("/a");
    expect(scene.effects).toEqual(["reload /a", "spawn s2 /a"]);
    // The first to go finishes its session outside the pool.
    expect(scene.spawned(2)).toEqual(["spawn s3 /a"]);
    expect(rollout(scene)).toBe("proven");
    expect(scene.sums()).toEqual([2, 1, 0, 0, 1]);
    expect(scene.spawned(3)).toEqual(["rolled out /a done"]);
    expect([...scene.close(2), ...scene.close(3)].toSorted()).toEqual([
      "retire i0 restarted",
      "retire i1 restarted",
    ]);
  });

  test("lets instances go that nobody has used since, without a replacement", () => {
    const scene = rolling(3);
    scene.now = 10;
    scene.restart("/a");
    expect(scene.spawned(3)).toEqual([
      "retire i2 restarted",
      "retire i1 restarted",
      "retire i0 restarted",
      "rolled out /a done",
    ]);
  });

  test("keeps as many as there are to be", () => {
    const scene = rolling(3);
    scene.configure("/a", { isRolling: true, minInstances: 2 });
    scene.now = 10;
    scene.restart("/a");
    expect(scene.spawned(3)).toEqual(["retire i2 restarted", "retire i1 restarted", "spawn s4 /a"]);
    expect(scene.spawned(4)).toEqual(["retire i0 restarted", "rolled out /a done"]);
    expect(scene.sums()).toEqual([2, 0, 0, 0, 0]);
  });

  test("needs no place beside a full pool", () => {
    const scene = rolling(1, 1);
    expect(scene.restart("/a")).toEqual(["reload /a", "spawn s1 /a"]);
    expect(scene.sums()).toEqual([1, 0, 0, 0, 0]);
    expect(scene.spawned(1)).toEqual(["retire i0 restarted", "rolled out /a done"]);
  });

  test("whose code does not start leaves the old instances serving", () => {
    const scene = rolling(1);
    scene.restart("/a");
    expect(scene.spawnFailed(1)).toEqual(["rolled out /a refused"]);
    expect(rollout(scene)).toBe("refused");
    expect(scene.get("/a")).toEqual(["grant g1 i0"]);
    // A second get waits for the old one; nothing is begun that would fail.
    expect(scene.get("/a")).toEqual([]);
    scene.now = 100_000;
    expect(scene.tick()).toEqual([]);
    expect(scene.close(1)).toEqual(["grant g2 i0"]);
    expect(scene.snapshot().applications[0]?.lastSpawnError?.message).toBe("it broke");
    expect(restarts(scene)).toEqual([0, 0, 1]);
    scene.restart("/a");
    expect(restarts(scene)).toEqual([0, 0, 1]);
    scene.spawned(2);
    expect(restarts(scene)).toEqual([1, 1, 1]);
  });

  test("that was refused is tried again when it is asked for again", () => {
    const scene = rolling(1);
    scene.restart("/a");
    scene.spawnFailed(1);
    expect(scene.restart("/a")).toEqual(["reload /a", "spawn s2 /a"]);
    expect(scene.spawned(2)).toEqual(["retire i0 restarted", "rolled out /a done"]);
  });

  test("that was refused is over when no old instance is left: gets learn why", () => {
    const scene = rolling(1);
    scene.restart("/a");
    scene.spawnFailed(1);
    scene.died(0);
    expect(scene.get("/a")).toEqual(["spawn s2 /a"]);
    expect(scene.spawnFailed(2)).toEqual(["refuse g1 spawnFailed: it broke"]);
    scene.now = 60_000;
    expect(scene.get("/a")).toEqual(["spawn s3 /a"]);
    expect(scene.spawned(3)).toEqual(["grant g2 i1"]);
    expect(rollout(scene)).toBe(null);
  });

  test("that was refused is over when the next one is at once", () => {
    const scene = rolling(1);
    scene.restart("/a");
    scene.spawnFailed(1);
    scene.configure("/a", { isRolling: false, minInstances: 1 });
    expect(scene.restart("/a")).toEqual(["retire i0 restarted", "reload /a", "spawn s2 /a"]);
    expect(rollout(scene)).toBe(null);
  });

  test("begins nothing else while its code is tried", () => {
    const scene = rolling(1);
    scene.get("/a");
    scene.restart("/a");
    expect(scene.get("/a")).toEqual([]);
    expect(scene.spawned(1)).toEqual(["grant g2 i1", "rolled out /a done"]);
    expect(scene.close(1)).toEqual(["retire i0 restarted"]);
  });

  test("of an application of which nothing is there is none", () => {
    const scene = rolling(0);
    scene.get("/a");
    scene.spawned(0);
    scene.died(0);
    expect(scene.restart("/a")).toEqual(["reload /a"]);
    expect(rollout(scene)).toBe(null);
  });

  test("asked for twice is of the last code", () => {
    const scene = rolling(1);
    scene.restart("/a");
    expect(scene.restart("/a")).toEqual(["end s1", "reload /a", "spawn s2 /a"]);
    expect(scene.spawned(1)).toEqual(["retire i1 outdated"]);
    expect(scene.spawned(2)).toEqual(["retire i0 restarted", "rolled out /a done"]);
  });

  test("is overtaken by a clear", () => {
    const scene = rolling(1);
    scene.restart("/a");
    expect(scene.clear()).toEqual(["retire i0 cleared", "end s1"]);
    expect(scene.spawned(1)).toEqual(["retire i1 outdated"]);
    expect(scene.sums()).toEqual([0, 0, 0, 0, 0]);
  });

  test("outlives the death of what it replaces", () => {
    const scene = rolling(1);
    scene.restart("/a");
    scene.died(0);
    expect(scene.spawned(1)).toEqual([]);
    expect(scene.get("/a")).toEqual(["grant g1 i1"]);
  });

  test("of many applications takes slots as other spawns do", () => {
    const scene = new Scene({ max: 10 }, { spawnsAtOnce: 2, slowSpawnMs: 500 });
    for (const app of ["/a", "/b", "/c"]) {
      scene.configure(app, { isRolling: true });
      scene.warm(app, 1);
    }
    scene.restart("/a");
    expect(scene.restart("/b")).toEqual(["reload /b", "spawn s4 /b"]);
    expect(scene.restart("/c")).toEqual(["reload /c"]);
    // One that hangs gives its slot up.
    expect(scene.pool.nextDeadline()).toBe(500);
    scene.now = 500;
    expect(scene.tick()).toEqual(["spawn s5 /c"]);
  });
});

/** Restarts /a ten times while its starts hang; /b is beside it where there is room. */
function restartOften(max: number): Scene {
  const scene = new Scene({ max }, { spawnsAtOnce: 4, slowSpawnMs: 10 });
  for (const app of ["/a", "/b"]) {
    scene.configure(app, { isRolling: true });
    if (max > 1 || app === "/a") scene.warm(app, 1);
  }
  for (let times = 0; times < 10; times++) {
    scene.restart("/a");
    scene.now += 100;
    scene.tick();
  }
  return scene;
}

describe("restarts again and again of what hangs in its start", () => {
  test("end each start at once, and so does a clear; the last code is tried when one has ended", () => {
    const scene = rolling(1);
    scene.restart("/a");
    expect(scene.restart("/a")).toEqual(["end s1", "reload /a", "spawn s2 /a"]);
    expect(scene.restart("/a")).toEqual(["end s2", "reload /a"]);
    // What ends so says nothing of the code there is now.
    expect(scene.spawnFailed(1)).toEqual(["spawn s3 /a"]);
    expect(scene.spawnFailed(2)).toEqual([]);
    expect(rollout(scene)).toBe("trying");
    expect(scene.spawned(3)).toEqual(["retire i0 restarted", "rolled out /a done"]);
    scene.restart("/a");
    expect(scene.clear()).toContain("end s4");
    // It was ready before it heard of it.
    expect(scene.spawned(4)).toEqual(["retire i2 outdated"]);
  });

  test("make two processes at a time, and hold nobody else up", () => {
    const scene = restartOften(2);
    expect(scene.pool.state.replacements.size).toBe(2);
    expect(scene.restart("/b")).toEqual(["reload /b", "spawn s4 /b"]);
    // What hung has ended: the last code is tried.
    expect(scene.spawnFailed(2)).toEqual(["spawn s5 /a"]);
    expect(scene.spawned(5)).toEqual(["retire i0 restarted", "rolled out /a done"]);
  });

  test("neither in a pool of one", () => {
    const scene = restartOften(1);
    expect(scene.get("/b")).toEqual(["retire i0 evicted", "spawn s2 /b"]);
    scene.spawned(2);
    expect(scene.restart("/b")).toEqual(["reload /b", "spawn s3 /b"]);
  });
});

describe("an instance is replaced", () => {
  test("after as many requests as it may serve, up to a tenth less", () => {
    const scene = rolling(0);
    scene.configure("/a", { maxRequests: 100 });
    scene.get("/a");
    scene.spawned(0);
    expect(scene.served(0, 99)).toEqual([]);
    expect(scene.served(0, 1)).toEqual(["spawn s1 /a"]);
    expect(reasons(scene)).toEqual(["requests"]);
    scene.close(0);
    expect(scene.spawned(1)).toEqual(["retire i0 requests"]);
    scene.get("/a");
    expect(scene.served(1, 98)).toEqual([]);
    expect(scene.served(1, 1)).toEqual(["spawn s2 /a"]);
  });

  test("when it is as old as it may be", () => {
    const scene = rolling(0);
    scene.configure("/a", { maxAgeMs: 1000, maxIdleMs: Infinity });
    scene.warm("/a", 1);
    expect(scene.pool.nextDeadline()).toBe(1000);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["spawn s1 /a"]);
    scene.now = 1100;
    expect(scene.spawned(1)).toEqual(["retire i0 age"]);
    expect(scene.pool.nextDeadline()).toBe(2100);
    scene.configure("/a", { maxIdleMs: Infinity });
    expect(scene.pool.nextDeadline()).toBe(undefined);
  });

  test("when it has grown; if that fails, again after a pause", () => {
    const scene = rolling(1);
    expect(scene.grown(0)).toEqual(["spawn s1 /a"]);
    expect(scene.spawnFailed(1)).toEqual([]);
    expect(scene.get("/a")).toEqual(["grant g1 i0"]);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["spawn s2 /a"]);
    expect(scene.spawned(2)).toEqual([]);
    expect(scene.close(1)).toEqual(["retire i0 memory"]);
  });
});

describe("instances ahead of need", () => {
  test("are begun when the application is configured, and again when one has gone", () => {
    const scene = new Scene({ max: 3 });
    expect(scene.configure("/a", { minInstances: 2 }, "ahead")).toEqual([
      "spawn s0 /a ahead",
      "spawn s1 /a ahead",
    ]);
    scene.spawned(0);
    // The first get is served, the second waits for what is on its way.
    expect(scene.get("/a")).toEqual(["grant g0 i0"]);
    expect(scene.get("/a")).toEqual([]);
    expect(scene.spawned(1)).toEqual(["grant g1 i1"]);
    scene.close(0);
    scene.close(1);
    expect(scene.died(0)).toEqual(["retire i0 died", "spawn s2 /a"]);
  });

  test("take no place of others, and leave theirs to them", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/b", 1);
    expect(scene.configure("/a", { minInstances: 2 }, "")).toEqual(["spawn s1 /a"]);
    scene.spawned(1);
    scene.get("/b");
    expect(scene.get("/c")).toEqual(["retire i1 evicted", "spawn s2 /c"]);
    scene.spawned(2);
    expect(scene.close(2)).toEqual([]);
    expect(scene.sums()).toEqual([2, 1, 0, 0, 0]);
  });

  test("come back when there is a place", () => {
    const scene = new Scene({ max: 1 });
    scene.warm("/b", 1);
    expect(scene.configure("/a", { minInstances: 1 }, "")).toEqual([]);
    scene.now = 120_000;
    expect(scene.tick()).toEqual(["retire i0 idle", "spawn s1 /a"]);
  });

  test("are not let go for being idle", () => {
    const scene = new Scene({ max: 5 });
    scene.configure("/a", { minInstances: 1, maxIdleMs: 50 });
    scene.warm("/a", 2);
    scene.now = 50;
    expect(scene.tick()).toEqual(["retire i0 idle"]);
    scene.now = 500;
    expect(scene.tick()).toEqual([]);
    expect(scene.configure("/a", { maxIdleMs: 50 })).toEqual([]);
    expect(scene.tick()).toEqual(["retire i1 idle"]);
  });

  test("that do not start are tried again after pauses", () => {
    const scene = new Scene({}, { failurePause: { firstMs: 1000, maxMs: 30_000 } });
    scene.configure("/a", { minInstances: 1 }, "");
    expect(scene.spawnFailed(0)).toEqual(["spawn s1 /a"]);
    expect(scene.spawnFailed(1)).toEqual([]);
    expect(scene.pool.nextDeadline()).toBe(1000);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["spawn s2 /a"]);
  });

  test("are begun anew after a restart that lets all go at once", () => {
    const scene = new Scene();
    scene.configure("/a", { minInstances: 1 }, "");
    scene.spawned(0);
    expect(scene.restart("/a")).toEqual(["retire i0 restarted", "reload /a", "spawn s1 /a"]);
  });
});
