// Waiting: the order in which gets are served, how long and how many may wait, and limits that
// change meanwhile.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

describe("gets that wait for a place", () => {
  test("are served first come first served over all applications", () => {
    const scene = new Scene({ max: 1 });
    scene.get("/a");
    scene.spawned(0);
    for (const app of ["/d", "/b", "/c"]) scene.get(app);
    expect(scene.close(0)).toEqual(["retire i0 evicted", "spawn s1 /d"]);
    expect(scene.spawned(1)).toEqual(["grant g1 i1"]);
    expect(scene.close(1)).toEqual(["retire i1 evicted", "spawn s2 /b"]);
  });

  test("are passed over while a limit of their own keeps them from using it", () => {
    const scene = new Scene({ max: 2, useGlobalQueue: true });
    scene.configure("/a", 1);
    scene.get("/a");
    scene.spawned(0);
    scene.get("/b");
    scene.spawned(1);
    scene.get("/a");
    scene.get("/c");
    expect(scene.died(1)).toEqual(["spawn s2 /c"]);
  });

  test("leave the queue when their client goes, and the place is the next one's", () => {
    const scene = new Scene({ max: 1 });
    scene.get("/a");
    scene.spawned(0);
    scene.get("/b");
    scene.get("/c");
    expect(scene.cancel(1)).toEqual([]);
    expect(scene.close(0)).toEqual(["retire i0 evicted", "spawn s1 /c"]);
  });

  test("wake at once when max is raised", () => {
    const scene = new Scene({ max: 1 });
    scene.get("/a");
    scene.spawned(0);
    for (const app of ["/b", "/c", "/d"]) scene.get(app);
    expect(scene.setLimits({ max: 3 })).toEqual(["spawn s1 /b", "spawn s2 /c"]);
  });

  test("wake at once when maxPerApp is raised or lifted", () => {
    const scene = new Scene({ maxPerApp: 1, useGlobalQueue: true });
    for (let n = 0; n < 4; n++) scene.get("/a");
    expect(scene.setLimits({ maxPerApp: 2 })).toEqual(["spawn s1 /a"]);
    expect(scene.setLimits({ maxPerApp: 0 })).toEqual(["spawn s2 /a", "spawn s3 /a"]);
  });

  test("wake at once when the limit of their application is raised or lifted", () => {
    const scene = new Scene({ useGlobalQueue: true });
    scene.configure("/a", 1);
    for (let n = 0; n < 4; n++) scene.get("/a");
    expect(scene.configure("/a", 2)).toEqual(["spawn s1 /a"]);
    expect(scene.configure("/a")).toEqual(["spawn s2 /a", "spawn s3 /a"]);
  });

  test("have their planned spawns given up when a limit of their own is lowered", () => {
    const scene = new Scene({}, { spawnsAtOnce: 1 });
    for (let n = 0; n < 3; n++) scene.get("/a");
    expect(scene.configure("/a", 1)).toEqual([]);
    expect(scene.sums()).toEqual([0, 0, 3, 1, 0]);
    expect(scene.spawned(0)).toEqual(["grant g0 i0", "grant g1 i0", "grant g2 i0"]);
  });
});

describe("maxInstances of an application", () => {
  test("and maxPerApp both bind: the smaller one counts", () => {
    const scene = new Scene({ maxPerApp: 2 });
    scene.configure("/a", 1);
    scene.configure("/b", 5);
    const begun = ["/a", "/a", "/b", "/b", "/b"].flatMap((app) => scene.get(app));
    expect(begun).toEqual(["spawn s0 /a", "spawn s1 /b", "spawn s2 /b"]);
  });

  test("keeps its application in memory until it is lifted", () => {
    const scene = new Scene();
    scene.configure("/a", 1);
    expect(scene.snapshot().applications[0]).toMatchObject({ root: "/a", maxInstances: 1 });
    scene.configure("/a");
    expect(scene.roots()).toEqual([]);
  });
});

describe("the limit on waiting time", () => {
  test("refuses a get that has waited so long, with a word on what for", () => {
    const scene = new Scene({ max: 1 }, { maxWaitMs: 5000 });
    scene.get("/srv/a");
    scene.now = 1000;
    scene.get("/srv/b");
    expect(scene.pool.nextDeadline()).toBe(5000);
    scene.now = 5000;
    expect(scene.tick()).toEqual(["refuse g0 busy: waited 5 s for an instance of '/srv/a'"]);
    expect(scene.pool.nextDeadline()).toBe(6000);
    scene.now = 5999;
    expect(scene.tick()).toEqual([]);
    scene.now = 6100;
    expect(scene.tick()).toEqual(["refuse g1 busy: waited 5 s for an instance of '/srv/b'"]);
    expect(scene.pool.nextDeadline()).toBe(undefined);
  });

  test("is over once a get is served", () => {
    const scene = new Scene({}, { maxWaitMs: 500 });
    scene.get("/a");
    scene.spawned(0);
    // What is left is a look whether the instance is idle.
    expect(scene.pool.nextDeadline()).toBe(120_000);
  });

  test("counts from the arrival of a get whose instance could not be connected to", () => {
    const scene = new Scene({}, { maxWaitMs: 500 });
    scene.get("/a");
    scene.now = 400;
    scene.spawned(0);
    scene.connectFailed(0);
    expect(scene.pool.nextDeadline()).toBe(500);
    scene.now = 500;
    expect(scene.tick()).toEqual(["refuse g0 busy: waited 0.5 s for an instance of '/a'"]);
  });

  test("gives up the planned spawns of the gets it refuses", () => {
    const scene = new Scene({ max: 2 }, { maxWaitMs: 100, spawnsAtOnce: 1 });
    scene.get("/a");
    scene.get("/b");
    scene.now = 50;
    scene.get("/c");
    scene.now = 100;
    scene.tick();
    expect(scene.spawned(0)).toEqual(["spawn s1 /c"]);
  });
});

describe("the limit on the number that wait", () => {
  test("refuses a get that would have to wait, and says how many do", () => {
    const scene = new Scene({ max: 1 }, { maxQueue: 1 });
    scene.get("/a");
    expect(scene.get("/b")).toEqual(["refuse g1 busy: 1 get is waiting already"]);
    expect(scene.roots()).toHaveLength(1);
    scene.spawned(0);
    scene.get("/b");
    expect(scene.sums()).toEqual([1, 1, 1, 0, 0]);
  });

  test("counts gets over all applications", () => {
    const scene = new Scene({}, { maxQueue: 2 });
    scene.get("/a");
    scene.get("/b");
    expect(scene.get("/c")).toEqual(["refuse g2 busy: 2 gets are waiting already"]);
  });

  test("of one application is nothing to the others", () => {
    const scene = new Scene({ max: 1 });
    scene.configure("/a", { maxQueue: 1 });
    scene.configure("/c", { maxQueue: 2 });
    for (const app of ["/a", "/b", "/b", "/c", "/c"]) scene.get(app);
    expect(scene.pool.state.waiters.size).toBe(5);
    expect(scene.get("/a")).toEqual(["refuse g5 busy: 1 get is waiting already"]);
    expect(scene.get("/c")).toEqual(["refuse g6 busy: 2 gets are waiting already"]);
    scene.get("/b");
    expect(scene.pool.state.waiters.size).toBe(6);
  });

  test("does not concern a get that is served at once, by a free instance or by sharing", () => {
    const scene = new Scene({ max: 2 }, { maxQueue: 1 });
    scene.warm("/a", 1);
    scene.get("/b");
    expect(scene.get("/a")).toEqual(["grant g2 i0"]);
    expect(scene.get("/a")).toEqual(["grant g3 i0"]);
  });

  test("does not keep a restart from being done", () => {
    const scene = new Scene({}, { maxQueue: 1 });
    scene.warm("/a", 1);
    scene.get("/b");
    expect(scene.get("/a", { restart: true })).toEqual([
      "retire i0 restarted",
      "reload /a",
      "refuse g2 busy: 1 get is waiting already",
    ]);
  });

  test("lets a get come back to its place after a failed connect", () => {
    const scene = new Scene({}, { maxQueue: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/b");
    expect(scene.connectFailed(1)).toEqual(["retire i0 unreachable", "spawn s2 /a"]);
    expect(scene.pool.state.waiters.size).toBe(2);
  });
});
