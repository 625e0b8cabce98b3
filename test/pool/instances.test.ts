// Applications whose gets a number of instances share, and gets that go on with one of them.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

/** An application with so many instances, all idle, which are all there may be. */
function shared(instances: number, concurrency = 1): Scene {
  const scene = new Scene({ max: 10, useGlobalQueue: true });
  scene.get("/a", { instances });
  for (let spawn = 0; spawn < instances; spawn++) scene.spawned(spawn, concurrency);
  scene.close(0);
  return scene;
}

describe("an application of one instance", () => {
  const one = { instances: 1, expects: 2 };

  test("has all further gets wait once it is full", () => {
    const scene = new Scene({ max: 10, useGlobalQueue: true });
    expect(scene.get("/a", one)).toEqual(["spawn s0 /a"]);
    expect(scene.get("/a", one)).toEqual([]);
    expect(scene.get("/a", one)).toEqual([]);
    expect(scene.spawned(0, 2)).toEqual(["grant g0 i0", "grant g1 i0"]);
    expect(scene.get("/a", one)).toEqual([]);
    expect(scene.close(0)).toEqual(["grant g2 i0"]);
    expect(scene.close(1)).toEqual(["grant g3 i0"]);
  });

  test("is shared once it is full without the global queue", () => {
    const scene = new Scene({ max: 10 });
    scene.get("/a", one);
    scene.spawned(0, 1);
    expect(scene.get("/a", one)).toEqual(["grant g1 i0"]);
    expect(scene.get("/a", one)).toEqual(["grant g2 i0"]);
  });
});

describe("an application of several instances", () => {
  test("has all of them with its first get, and no more", () => {
    const scene = new Scene({ max: 10, useGlobalQueue: true });
    expect(scene.get("/a", { instances: 3 })).toEqual([
      "spawn s0 /a",
      "spawn s1 /a",
      "spawn s2 /a",
    ]);
    for (let get = 1; get < 5; get++) expect(scene.get("/a", { instances: 3 })).toEqual([]);
    expect(scene.spawned(1)).toEqual(["grant g0 i0"]);
    expect(scene.snapshot().spawning).toBe(2);
  });

  test("has those that there is room for", () => {
    const scene = new Scene({ max: 2, useGlobalQueue: true });
    expect(scene.get("/a", { instances: 3 })).toEqual(["spawn s0 /a", "spawn s1 /a"]);
    const limited = new Scene({ max: 10 });
    limited.configure("/a", 2);
    expect(limited.get("/a", { instances: 3 })).toEqual(["spawn s0 /a", "spawn s1 /a"]);
  });

  test("has another with the next get after one has died", () => {
    const scene = shared(3);
    scene.now += 10_000;
    scene.died(1);
    expect(scene.get("/a", { instances: 3 })).toEqual(["grant g1 i0", "spawn s3 /a"]);
  });

  test("has another with the get that finds one not to be there any more", () => {
    const scene = shared(3);
    scene.now += 10_000;
    expect(scene.get("/a", { instances: 3 })).toEqual(["grant g1 i0"]);
    const answers = ["retire i0 unreachable", "grant g1 i2", "spawn s3 /a"];
    expect(scene.connectFailed(1)).toEqual(answers);
  });

  test("asks the others for what they keep beyond their share when one more is there", () => {
    const scene = new Scene({ max: 10, useGlobalQueue: true });
    const kept = { instances: 3, kept: true };
    scene.get("/a", kept);
    scene.spawned(0, 9);
    for (let get = 1; get < 6; get++) scene.get("/a", kept);
    expect(scene.spawned(1, 9)).toEqual(["recall g0", "recall g1", "recall g2"]);
    for (const [get, answer] of ["i1", "i1", "i1"].entries()) {
      scene.close(get);
      expect(scene.get("/a", kept)).toEqual([`grant g${get + 6} ${answer}`]);
    }
    expect(scene.spawned(2, 9)).toEqual(["recall g3", "recall g6"]);
    expect(scene.snapshot().counters.recalls.sent).toBe(5);
  });

  test("asks for no session of who goes on with his instance when one more is there", () => {
    const scene = new Scene({ max: 10, useGlobalQueue: true });
    const sticky = { instances: 2, kept: true, prefers: "none" as const };
    scene.get("/a", sticky);
    scene.spawned(0, 9);
    for (let get = 1; get < 4; get++) scene.get("/a", sticky);
    expect(scene.spawned(1, 9)).toEqual([]);
  });

  test("keeps those that have nothing to do as long as one has", () => {
    const scene = shared(2);
    for (let get = 1; get < 5; get++) {
      scene.now += 100_000;
      scene.tick();
      scene.get("/a", { instances: 2 });
      scene.close(get);
      expect(scene.snapshot().count).toBe(2);
    }
    scene.now += 240_000;
    scene.tick();
    expect(scene.snapshot().count).toBe(0);
  });

  test("has none started while its starts fail", () => {
    const failurePause = { firstMs: 1000, maxMs: 1000 };
    const scene = new Scene({ max: 10 }, { failurePause, spawnsAtOnce: 1 });
    scene.get("/a", { instances: 3 });
    scene.spawnFailed(0);
    scene.get("/a", { instances: 3 });
    scene.spawnFailed(1);
    expect(scene.get("/a", { instances: 3 })).toEqual(["refuse g2 spawnFailed: it broke"]);
    expect(scene.snapshot().spawning).toBe(0);
  });
});

describe("a get that goes on with an instance", () => {
  const two = { instances: 2 };

  test("gets it, be it busy or not", () => {
    const scene = shared(2);
    for (let get = 1; get < 4; get++) {
      expect(scene.get("/a", { ...two, prefers: 0 })).toEqual([`grant g${get} i0`]);
    }
  });

  test("gets another once it has gone, or if it is another application's", () => {
    const scene = shared(2);
    scene.get("/b");
    scene.spawned(2);
    scene.now += 10_000;
    scene.died(0);
    expect(scene.get("/a", { ...two, prefers: 0 })).toContain("grant g2 i1");
    scene.close(2);
    expect(scene.get("/a", { ...two, prefers: 2 })).toContain("grant g3 i1");
  });

  test("that has none yet gets each in turn", () => {
    const scene = shared(2, 5);
    const granted = [1, 2, 3, 4].map(() => scene.get("/a", { ...two, prefers: "none" }).join());
    const instances = granted.map((effect) => effect.slice(-2));
    expect(new Set(instances.slice(0, 2)).size).toBe(2);
    expect(instances.slice(2)).toEqual(instances.slice(0, 2));
  });

  test("is not moved where the backlog is full", () => {
    const scene = shared(2);
    scene.get("/a", { ...two, prefers: 0 });
    expect(scene.alternative(1)).toBe(undefined);
  });

  test("is refused where as many wait there as may wait for the application", () => {
    const scene = shared(2);
    scene.configure("/a", { maxQueue: 2 });
    for (let get = 1; get < 4; get++) scene.get("/a", { ...two, prefers: 0 });
    expect(scene.get("/a", { ...two, prefers: 0 })).toEqual([
      "refuse g4 busy: 2 gets are waiting already",
    ]);
  });

  test("has the kept sessions of that instance asked for that are in its way", () => {
    const scene = shared(2);
    scene.get("/a", { ...two, prefers: 0, kept: true });
    expect(scene.get("/a", { ...two, prefers: 0 })).toEqual(["recall g1", "grant g2 i0"]);
  });
});
