// How many instances are spawned, when a spawn begins, and what a failed one means.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

const PAUSE = { firstMs: 1000, maxMs: 3000 };

describe("planned spawns", () => {
  test("begin in the order of planning, over all applications, so many at once", () => {
    const scene = new Scene({}, { spawnsAtOnce: 2 });
    expect(scene.get("/a")).toEqual(["spawn s0 /a"]);
    expect(scene.get("/b")).toEqual(["spawn s1 /b"]);
    expect(scene.get("/c")).toEqual([]);
    expect(scene.get("/a")).toEqual([]);
    expect(scene.spawned(1)).toEqual(["grant g1 i0", "spawn s2 /c"]);
    expect(scene.spawnFailed(0)).toEqual(["refuse g0 spawnFailed: it broke", "spawn s3 /a"]);
  });

  test("hold a place from the moment they are planned", () => {
    const scene = new Scene({ max: 2 }, { spawnsAtOnce: 1 });
    scene.get("/a");
    scene.get("/b");
    expect(scene.get("/c")).toEqual([]);
    expect(scene.sums()).toEqual([0, 0, 3, 2, 0]);
  });

  test("are given up, and their place free, when nobody needs them any more", () => {
    const scene = new Scene({ max: 2 }, { spawnsAtOnce: 1 });
    scene.get("/a");
    scene.get("/b");
    scene.get("/c");
    expect(scene.cancel(1)).toEqual([]);
    expect(scene.spawned(0)).toEqual(["grant g0 i0", "spawn s1 /c"]);
    expect(scene.snapshot().counters).toMatchObject({ spawnsDropped: 1, cancels: 1 });
  });

  test("are given up when an instance becomes free for their get", () => {
    const scene = new Scene({}, { spawnsAtOnce: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/b");
    scene.get("/a");
    expect(scene.close(1)).toEqual(["grant g3 i0"]);
    expect(scene.spawned(1)).toEqual(["grant g2 i1"]);
    expect(scene.sums()).toEqual([2, 2, 0, 0, 0]);
  });

  test("are not given up once begun: the instance joins the pool idle", () => {
    const scene = new Scene();
    scene.get("/a");
    expect(scene.cancel(0)).toEqual([]);
    expect(scene.spawned(0)).toEqual([]);
    expect(scene.sums()).toEqual([1, 0, 0, 0, 0]);
    expect(scene.get("/a")).toEqual(["grant g1 i0"]);
  });

  test("the spawn that a cancelled get began is for the next get", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.cancel(0);
    expect(scene.get("/a")).toEqual([]);
    expect(scene.spawned(0)).toEqual(["grant g1 i0"]);
  });

  test("are as many as gets wait, one for each", () => {
    const scene = new Scene({ max: 3 });
    const begun = [0, 1, 2, 3].flatMap(() => scene.get("/a"));
    expect(begun).toEqual(["spawn s0 /a", "spawn s1 /a", "spawn s2 /a"]);
  });

  test("are fewer when an instance is expected to serve several gets", () => {
    const scene = new Scene();
    const begun = [0, 1, 2, 3, 4].flatMap(() => scene.get("/a", { expects: 2 }));
    expect(begun).toEqual(["spawn s0 /a", "spawn s1 /a", "spawn s2 /a"]);
  });

  test("are as many as the last instance's own word makes them", () => {
    const scene = new Scene();
    for (let n = 0; n < 4; n++) scene.get("/a", { expects: 10 });
    expect(scene.spawned(0, 1)).toEqual([
      "grant g0 i0",
      "spawn s1 /a",
      "spawn s2 /a",
      "spawn s3 /a",
    ]);
    expect(scene.get("/a", { expects: 10 })).toEqual(["spawn s4 /a"]);
  });

  test("what the last instance said is forgotten when the application is configured anew", () => {
    const scene = new Scene({}, { spawnsAtOnce: 10 });
    scene.get("/a");
    scene.spawned(0, 1);
    scene.configure("/a");
    expect(scene.get("/a", { expects: 2 })).toEqual(["spawn s1 /a"]);
    expect(scene.get("/a", { expects: 2 })).toEqual([]);
  });
});

describe("slots to begin a spawn", () => {
  test("an application whose spawns hang leaves half of them to others, and those half of the rest", () => {
    const scene = new Scene({ max: 100 }, { spawnsAtOnce: 8 });
    const begun = (app: string) => Array.from({ length: 8 }, () => scene.get(app)).flat().length;
    expect(["/a", "/b", "/c", "/d", "/e"].map(begun)).toEqual([4, 2, 1, 1, 0]);
  });

  test("go to the application that has the fewest, then to the spawn planned first", () => {
    const scene = new Scene({}, { spawnsAtOnce: 2 });
    scene.get("/a");
    scene.get("/a");
    scene.get("/b");
    scene.get("/b");
    scene.get("/c");
    expect(scene.spawnFailed(1)).toEqual(["refuse g2 spawnFailed: it broke", "spawn s2 /b"]);
    expect(scene.spawned(2)).toEqual(["grant g3 i0", "spawn s3 /c"]);
    expect(scene.spawned(0)).toEqual(["grant g0 i1", "spawn s4 /a"]);
  });

  test("of fifty cold applications are taken in the order of their gets, each once", () => {
    const scene = new Scene({ max: 50 }, { spawnsAtOnce: 4 });
    const apps = Array.from({ length: 50 }, (_, n) => `/app${n}`);
    const begun = apps.flatMap((app) => scene.get(app));
    expect(begun).toHaveLength(4);
    for (let spawn = 0; spawn < 50; spawn++) begun.push(...scene.spawned(spawn).slice(1));
    expect(begun).toEqual(apps.map((app, n) => `spawn s${n} ${app}`));
  });

  test("are not held by spawns that take long enough to be hanging", () => {
    const scene = new Scene({}, { spawnsAtOnce: 2, slowSpawnMs: 100 });
    scene.get("/a");
    scene.now = 50;
    scene.get("/b");
    expect(scene.get("/c")).toEqual([]);
    expect(scene.pool.nextDeadline()).toBe(100);
    scene.now = 100;
    expect(scene.tick()).toEqual(["spawn s2 /c"]);
    expect(scene.pool.nextDeadline()).toBe(undefined);
    expect(scene.spawned(0)).toEqual(["grant g0 i0"]);
  });
});

describe("a failed spawn", () => {
  test("is the answer to every get that has waited since before it began, and to no other", () => {
    const scene = new Scene({}, { spawnsAtOnce: 1 });
    scene.get("/b");
    scene.get("/a");
    scene.get("/a");
    scene.spawned(0);
    expect(scene.get("/a")).toEqual([]);
    expect(scene.spawnFailed(1, "no config.ru")).toEqual([
      "refuse g1 spawnFailed: no config.ru",
      "refuse g2 spawnFailed: no config.ru",
      "spawn s2 /a",
    ]);
    expect(scene.spawned(2)).toEqual(["grant g3 i1"]);
  });

  test("hands its page to the gets it refuses", () => {
    const scene = new Scene();
    const page = new TextEncoder().encode("<h1>it broke</h1>");
    scene.get("/a");
    const [effect] = scene.pool.spawnFailed(0 as never, { message: "it broke", page }, 0);
    expect(effect).toMatchObject({ kind: "refuse", refusal: { failure: { page } } });
  });

  test("frees its place for the get that has waited longest", () => {
    const scene = new Scene({ max: 1 });
    scene.get("/a");
    scene.get("/b");
    scene.get("/c");
    scene.get("/a");
    expect(scene.spawnFailed(0)).toEqual(["refuse g0 spawnFailed: it broke", "spawn s1 /b"]);
  });

  test("sends younger gets to busy instances when there is no room for another try", () => {
    const scene = new Scene({ max: 2 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.get("/b");
    scene.get("/a");
    expect(scene.spawnFailed(1)).toEqual([
      "refuse g2 spawnFailed: it broke",
      "grant g4 i0",
      "spawn s2 /b",
    ]);
  });

  test("means nothing to later gets of a pool that knows no pauses", () => {
    const scene = new Scene();
    for (let spawn = 0; spawn < 5; spawn++) {
      expect(scene.get("/a")).toEqual([`spawn s${spawn} /a`]);
      scene.spawnFailed(spawn);
    }
  });
});

/** An application that has failed twice in a row, at the present time. */
function failTwice(scene: Scene): void {
  for (let n = 0; n < 2; n++) {
    const spawn = /s(\d+)/.exec(scene.get("/a")[0] ?? "")?.[1];
    scene.spawnFailed(Number(spawn), `failure ${n}`);
  }
}

describe("the pause after failures", () => {
  test("refuses gets whose last instance has to make room for another application", () => {
    const limits = { max: 2, useGlobalQueue: true };
    const scene = new Scene(limits, { failurePause: PAUSE });
    scene.get("/a");
    scene.spawned(0);
    scene.get("/a");
    scene.spawnFailed(1);
    scene.get("/a");
    scene.spawnFailed(2);
    scene.setLimits({ max: 1 });
    scene.get("/b");
    expect(scene.get("/a")).toEqual([]);
    expect(scene.close(0)).toEqual([
      "retire i0 evicted",
      "refuse g4 spawnFailed: it broke",
      "spawn s3 /b",
    ]);
  });

  test("begins with the second in a row, and refuses gets at once with the last error", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    failTwice(scene);
    expect(scene.get("/a")).toEqual(["refuse g2 spawnFailed: failure 1"]);
    scene.now = 999;
    expect(scene.get("/a")).toEqual(["refuse g3 spawnFailed: failure 1"]);
    expect(scene.get("/b")).toEqual(["spawn s2 /b"]);
    scene.now = 1000;
    expect(scene.get("/a")).toEqual(["spawn s3 /a"]);
  });

  test("refuses gets that were waiting when it began", () => {
    const scene = new Scene({ max: 2 }, { failurePause: PAUSE, spawnsAtOnce: 1 });
    scene.get("/a");
    scene.spawnFailed(0);
    scene.get("/a");
    scene.get("/a");
    expect(scene.spawnFailed(1)).toEqual([
      "refuse g1 spawnFailed: it broke",
      "refuse g2 spawnFailed: it broke",
    ]);
    expect(scene.sums()).toEqual([0, 0, 0, 0, 0]);
  });

  test("doubles from pause to pause up to its limit", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    const pauses: (number | null | undefined)[] = [];
    failTwice(scene);
    for (let spawn = 2; spawn < 6; spawn++) {
      const pauseMs = scene.snapshot().applications[0]?.pauseMs;
      pauses.push(pauseMs);
      scene.now += pauseMs ?? 0;
      expect(scene.get("/a")).toEqual([`spawn s${spawn} /a`]);
      scene.spawnFailed(spawn);
    }
    expect(pauses).toEqual([1000, 2000, 3000, 3000]);
  });

  test("is not lengthened by spawns that had begun before it", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    for (let n = 0; n < 4; n++) scene.get("/a");
    for (let spawn = 0; spawn < 4; spawn++) scene.spawnFailed(spawn, `failure ${spawn}`);
    const [application] = scene.snapshot().applications;
    expect(application?.pauseMs).toBe(1000);
    expect(scene.get("/a")).toEqual(["refuse g4 spawnFailed: failure 3"]);
  });

  test("ends with a get that found restart.txt, and the count of failures with it", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    failTwice(scene);
    expect(scene.hasInstances("/a")).toBe(true);
    expect(scene.get("/a", { restart: true })).toEqual(["reload /a", "spawn s2 /a"]);
    scene.spawnFailed(2);
    expect(scene.get("/a")).toEqual(["spawn s3 /a"]);
  });

  test("ends with a success of a spawn that had begun before it", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    for (let n = 0; n < 3; n++) scene.get("/a");
    scene.spawnFailed(0);
    scene.spawnFailed(1);
    expect(scene.spawned(2)).toEqual([]);
    scene.get("/a");
    expect(scene.get("/a")).toEqual(["spawn s3 /a"]);
  });

  test("a success between two failures keeps it away", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    scene.get("/a");
    scene.spawnFailed(0);
    scene.get("/a");
    scene.spawned(1);
    scene.get("/a");
    scene.spawnFailed(2);
    expect(scene.snapshot().applications[0]?.pauseMs).toBe(null);
  });

  test("leaves an application its instances: gets share them instead of spawning", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.spawnFailed(1);
    scene.get("/a");
    scene.spawnFailed(2);
    expect(scene.get("/a")).toEqual(["grant g4 i0"]);
  });

  test("gives planned spawns up, and gets with an instance wait out its end in the global queue", () => {
    const limits = { max: 3, useGlobalQueue: true };
    const scene = new Scene(limits, { failurePause: PAUSE, spawnsAtOnce: 1 });
    scene.warm("/a", 1);
    scene.get("/a");
    scene.get("/a");
    scene.spawnFailed(1);
    scene.get("/a");
    scene.get("/a");
    expect(scene.spawnFailed(2)).toEqual(["refuse g3 spawnFailed: it broke"]);
    expect(scene.sums()).toEqual([1, 1, 1, 0, 0]);
    expect(scene.pool.nextDeadline()).toBe(1000);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["spawn s3 /a"]);
  });

  test("is over for hasInstances when it is over", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    failTwice(scene);
    scene.now = 1000;
    expect(scene.hasInstances("/a")).toBe(false);
  });

  test("outlives itself: an application asked for now and then does not start over", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    failTwice(scene);
    scene.now = 50_000;
    scene.get("/a");
    scene.spawnFailed(2);
    expect(scene.snapshot().applications[0]?.pauseMs).toBe(2000);
  });

  test("is forgotten with its application a minute after the last failure", () => {
    const scene = new Scene({}, { failurePause: PAUSE });
    failTwice(scene);
    scene.now = 59_999;
    scene.tick();
    expect(scene.roots()).toHaveLength(1);
    expect(scene.pool.nextDeadline()).toBe(60_000);
    scene.now = 60_000;
    scene.tick();
    expect(scene.roots()).toEqual([]);
    expect(scene.pool.nextDeadline()).toBe(undefined);
  });

  test("is remembered for at least twice its longest pause", () => {
    const scene = new Scene({}, { failurePause: { firstMs: 40_000, maxMs: 100_000 } });
    failTwice(scene);
    scene.now = 199_999;
    scene.get("/a");
    scene.spawnFailed(2);
    expect(scene.snapshot().applications[0]?.pauseMs).toBe(80_000);
  });
});
