// Which instance a get is given, and when one is spawned or let go for it: rules 2 to 5 of the
// protocol.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

describe("an application without instances", () => {
  test("is spawned, and the get is served when the instance is ready", () => {
    const scene = new Scene();
    expect(scene.get("/a", { options: "as user" })).toEqual(["spawn s0 /a as user"]);
    expect(scene.spawned(0)).toEqual(["grant g0 i0"]);
    expect(scene.sums()).toEqual([1, 1, 0, 0, 0]);
  });

  test("takes the place of the instance that has been idle longest, whatever its application", () => {
    const scene = new Scene({ max: 3 });
    scene.warm("/a", 1);
    scene.warm("/b", 2);
    scene.get("/a");
    scene.close(3);
    expect(scene.get("/c")).toEqual(["retire i1 evicted", "spawn s3 /c"]);
    expect(scene.get("/d")).toEqual(["retire i2 evicted", "spawn s4 /d"]);
  });

  test("waits while active and being spawned make max, and evicts the first that becomes idle", () => {
    const scene = new Scene({ max: 2 });
    scene.get("/a");
    scene.get("/b");
    scene.spawned(0);
    expect(scene.get("/c")).toEqual([]);
    expect(scene.spawned(1)).toEqual(["grant g1 i1"]);
    expect(scene.close(0)).toEqual(["retire i0 evicted", "spawn s2 /c"]);
    expect(scene.sums()).toEqual([1, 1, 1, 1, 0]);
  });

  test("has one instance of others let go for it, not one for each of its first gets", () => {
    const scene = new Scene({ max: 3 });
    scene.warm("/old", 3);
    expect(scene.get("/new")).toEqual(["retire i0 evicted", "spawn s3 /new"]);
    expect(scene.get("/new")).toEqual([]);
    expect(scene.spawned(3)).toEqual(["grant g3 i3", "grant g4 i3"]);
  });

  test("waits at its own limit even where there is room", () => {
    const scene = new Scene({ maxPerApp: 1 });
    scene.get("/a");
    expect(scene.get("/a")).toEqual([]);
    expect(scene.get("/b")).toEqual(["spawn s1 /b"]);
  });
});

describe("an application with an idle instance", () => {
  test("gives the one used last, so that the others can grow old", () => {
    const scene = new Scene();
    scene.warm("/a", 3);
    scene.get("/a");
    scene.get("/a");
    scene.close(4);
    expect(scene.get("/a")).toEqual(["grant g5 i1"]);
    expect(scene.get("/a")).toEqual(["grant g6 i0"]);
  });

  test("gives it even when the pool is above its limits", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 2);
    scene.get("/a");
    scene.get("/a");
    scene.setLimits({ max: 1, maxPerApp: 1 });
    scene.close(2);
    expect(scene.get("/a")).toEqual(["grant g4 i0"]);
  });
});

describe("an application whose instances are all busy", () => {
  test("gets one more while there is room", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 1);
    scene.get("/a");
    expect(scene.get("/a")).toEqual(["spawn s1 /a"]);
  });

  test("shares the one with the fewest sessions when the pool is full, the one used last first", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 2);
    scene.get("/a");
    scene.get("/a");
    expect(scene.get("/a")).toEqual(["grant g4 i0"]);
    expect(scene.get("/a")).toEqual(["grant g5 i1"]);
    scene.close(4);
    expect(scene.get("/a")).toEqual(["grant g6 i0"]);
    expect(scene.snapshot().counters.grantsOfBusy).toBe(3);
  });

  test("shares when it has as many as an application may have, though the pool has room", () => {
    const scene = new Scene({ maxPerApp: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    expect(scene.get("/a")).toEqual(["grant g2 i0"]);
  });

  test("does not have idle instances of others let go for it", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/b", 1);
    scene.warm("/a", 1);
    scene.get("/a");
    expect(scene.get("/a")).toEqual(["grant g3 i1"]);
  });

  test("takes the place that an idle instance of another leaves", () => {
    const scene = new Scene({ max: 2, useGlobalQueue: true, maxIdleMs: 10 });
    scene.warm("/b", 1);
    scene.warm("/a", 1);
    scene.get("/a");
    expect(scene.get("/a")).toEqual([]);
    scene.now = 10;
    expect(scene.tick()).toEqual(["retire i0 idle", "spawn s2 /a"]);
  });
});

describe("while an instance of the application is being spawned", () => {
  test("its gets are served first come first served by whichever is ready or idle first", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    expect(scene.get("/a")).toEqual([]);
    expect(scene.get("/a")).toEqual([]);
    expect(scene.close(1)).toEqual(["grant g2 i0"]);
    expect(scene.spawned(1)).toEqual(["grant g3 i1", "grant g4 i1"]);
  });

  test("no get is bound to a busy instance", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    expect(scene.get("/a")).toEqual([]);
    expect(scene.cancel(2)).toEqual([]);
    expect(scene.spawnFailed(1)).toEqual(["spawn s2 /a"]);
  });
});

describe("with the global queue", () => {
  test("gets wait for an idle instance instead of sharing a busy one", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    scene.warm("/a", 1);
    scene.get("/a");
    expect(scene.get("/a")).toEqual([]);
    expect(scene.get("/a")).toEqual([]);
    expect(scene.close(1)).toEqual(["grant g2 i0"]);
    expect(scene.close(2)).toEqual(["grant g3 i0"]);
  });

  test("gets that wait share busy instances as soon as it is switched off", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.get("/a");
    expect(scene.setLimits({ useGlobalQueue: false })).toEqual(["grant g2 i0", "grant g3 i0"]);
  });

  test("an older get of another application comes before the gets of the instance's own", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/b");
    scene.get("/a");
    expect(scene.close(1)).toEqual(["retire i0 evicted", "spawn s1 /b"]);
    expect(scene.spawned(1)).toEqual(["grant g2 i1"]);
    expect(scene.close(2)).toEqual(["retire i1 evicted", "spawn s2 /a"]);
  });

  test("a younger get of another application comes after them", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.get("/b");
    expect(scene.close(1)).toEqual(["grant g2 i0"]);
    expect(scene.close(2)).toEqual(["retire i0 evicted", "spawn s1 /b"]);
  });

  test("an instance just spawned serves its own application though an older get wants its place", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    scene.get("/a");
    scene.get("/b");
    scene.get("/a");
    scene.cancel(0);
    expect(scene.spawned(0)).toEqual(["grant g2 i0"]);
    expect(scene.close(2)).toEqual(["retire i0 evicted", "spawn s1 /b"]);
  });
});

describe("instances that serve several sessions at once", () => {
  test("count as idle for a get below that number, fewest sessions first", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 2, 2);
    expect(scene.pool.active).toBe(0);
    const given = [0, 1, 2, 3].map(() => scene.get("/a")[0]?.split(" ")[2]);
    expect(given).toEqual(["i1", "i0", "i0", "i1"]);
    expect(scene.get("/a")).toEqual(["grant g8 i1"]);
  });

  test("a free one is taken before a busy one with fewer sessions", () => {
    const scene = new Scene({ max: 2 });
    scene.get("/a");
    scene.spawned(0, 4);
    for (let n = 0; n < 4; n++) scene.get("/a");
    scene.spawned(1, 1);
    // i0 has 4 of 4, i1 has 1 of 1; then i0 has 3 of 4.
    scene.close(0);
    expect(scene.get("/a")).toEqual(["grant g5 i0"]);
  });

  test("are let go only without any session", () => {
    const scene = new Scene({ max: 1 });
    scene.get("/a");
    scene.spawned(0, 2);
    scene.get("/a");
    scene.get("/b");
    expect(scene.close(0)).toEqual([]);
    expect(scene.close(1)).toEqual(["retire i0 evicted", "spawn s1 /b"]);
  });
});
