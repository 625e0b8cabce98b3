// A full pool is shared: places of those who have most, and of spawns that take long.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

const shared = { shareAfterMs: 1000 };

/** A pool that one application filled a second ago and keeps busy; max more gets of it wait. */
function flooded(max: number, options = {}): Scene {
  const scene = new Scene({ max, useGlobalQueue: true }, { ...shared, ...options });
  for (let get = 0; get < max; get++) scene.get("/a");
  for (let spawn = 0; spawn < max; spawn++) scene.spawned(spawn);
  for (let get = 0; get < 2 * max; get++) scene.get("/a");
  scene.now = 1000;
  for (let get = 0; get < max; get++) scene.close(get);
  return scene;
}

describe("an application that finds the pool full of busy instances of another", () => {
  test("is given the place of one after a second, which leaves after its session", () => {
    const scene = flooded(3);
    scene.get("/b");
    scene.now = 1999;
    scene.tick();
    expect(scene.pool.nextDeadline()).toBe(2099);
    scene.now = 2099;
    expect(scene.tick()).toEqual(["spawn s3 /b"]);
    expect(scene.sums()).toEqual([2, 2, 4, 1, 1]);
    expect(scene.spawned(3)).toEqual(["grant g9 i3"]);
    expect(scene.close(3)).toEqual(["retire i0 evicted"]);
  });

  test("cuts no upgraded session short for it, whatever time they have after a restart", () => {
    const scene = flooded(3);
    scene.configure("/a", { upgradedMs: 100 });
    for (const get of [3, 4, 5]) scene.long(get);
    scene.get("/b");
    scene.now = 2099;
    expect(scene.tick()).toContain("spawn s3 /b");
    for (const get of [6, 7, 8]) scene.close(get);
    scene.now = 1_000_000;
    expect(scene.tick().join()).not.toContain("up: unknown");
    const ended = [3, 4, 5].flatMap((get) => scene.close(get));
    expect(ended.filter((effect) => effect.endsWith("evicted"))).toHaveLength(1);
  });

  test("never is where the server was not asked to share", () => {
    const scene = flooded(3, { shareAfterMs: undefined });
    scene.get("/b");
    scene.now = 100_000;
    expect(scene.tick()).toEqual([]);
  });

  test("has half of the places in the end, if it waits for as many", () => {
    const scene = flooded(6);
    for (let get = 0; get < 6; get++) scene.get("/b");
    for (let round = 0; round < 100; round++) {
      scene.now += 100;
      scene.tick();
    }
    expect(scene.snapshot().applications[1]?.spawns).toHaveLength(3);
  });

  test("has as many as its weight says", () => {
    const scene = flooded(6);
    scene.configure("/b", { weight: 2 });
    for (let get = 0; get < 6; get++) scene.get("/b");
    for (let round = 0; round < 100; round++) {
      scene.now += 100;
      scene.tick();
    }
    expect(scene.snapshot().applications[1]?.spawns).toHaveLength(4);
  });

  test("waits while as many as max finish outside the pool", () => {
    const scene = flooded(1);
    scene.get("/b");
    scene.now = 2500;
    expect(scene.tick()).toEqual(["spawn s1 /b"]);
    scene.spawned(1);
    scene.now = 5000;
    expect(scene.tick()).toEqual([]);
    expect(scene.close(1)).toEqual(["retire i0 evicted"]);
    scene.now = 5100;
    expect(scene.tick()).toEqual(["spawn s2 /a"]);
  });
});

/** Two applications fill a pool of two; the second has just answered, the first has not. */
function besideHung(open: "open" | "closed", concurrency = 1, options = {}): Scene {
  const scene = new Scene({ max: 2 }, { ...shared, abandonMs: 30_000, ...options });
  scene.get("/hung");
  scene.get("/good");
  scene.spawned(0, concurrency, true);
  scene.spawned(1, 1, true);
  if (open === "closed") scene.abandon(0);
  scene.now = 1000;
  scene.close(1);
  scene.done(1);
  return scene;
}

describe("an application that has nothing", () => {
  test("is given the place of an instance that is stuck before that of one used just now", () => {
    for (const open of ["open", "closed"] as const) {
      const scene = besideHung(open);
      expect(scene.get("/new")).toEqual(["spawn s2 /new"]);
      expect(scene.sums()).toEqual([1, 0, 1, 1, 1]);
    }
  });

  test("waits a moment where none is stuck and the idle one was used just now", () => {
    const scene = besideHung("open", 2);
    expect(scene.get("/new")).toEqual([]);
    scene.now = 1099;
    expect(scene.tick()).toEqual([]);
    scene.now = 1100;
    expect(scene.tick()).toEqual(["retire i1 evicted", "spawn s2 /new"]);
  });

  test("has that of one that serves several if all its sessions are closed", () => {
    expect(besideHung("closed", 2).get("/new")).toEqual(["spawn s2 /new"]);
  });

  test("has that of one in use after a second and a half, if there is no other", () => {
    const scene = besideHung("open", 2);
    scene.long(0);
    scene.get("/new");
    for (; scene.now < 2450; scene.now += 50) {
      scene.tick();
      expect(scene.get("/good").join()).toStartWith("grant");
      scene.close(scene.now / 50 - 17);
      expect(scene.done(1)).toEqual([]);
    }
  });

  test("does not ask for kept sessions that began just now, nor where one is stuck", () => {
    const scene = besideHung("open");
    scene.get("/good", { kept: true });
    expect(scene.get("/new")).toEqual(["spawn s2 /new"]);
    expect(scene.get("/newer")).toEqual([]);
    scene.now = 1100;
    expect(scene.tick()).toEqual(["recall g2"]);
  });
});

describe("an instance that lost its place while it was stuck", () => {
  test("has the time of its abandoned request outside the pool, and counts for its share", () => {
    const scene = besideHung("closed", 1, { abandonMs: 5_000 });
    scene.get("/new");
    scene.spawned(2, 2);
    scene.died(1);
    scene.get("/other");
    scene.spawned(3, 2);
    scene.get("/hung");
    scene.now = 4_999;
    expect(scene.tick()).toEqual([]);
    expect(scene.sums()).toEqual([2, 2, 1, 0, 1]);
    scene.now = 5_100;
    expect(scene.tick()).toEqual(["give i0 up: GET /", "retire i0 evicted", "spawn s4 /hung"]);
  });

  test("is ended before that where another has to leave and as many as max have", () => {
    const scene = new Scene({ max: 1 }, { ...shared, abandonMs: 30_000 });
    for (const [round, app] of ["/a", "/b", "/c"].entries()) {
      scene.get(app);
      expect(scene.spawned(round, 1, true)).toEqual([`grant g${round} i${round}`]);
      scene.abandon(round, `GET ${app}`);
      scene.now += 1000;
    }
    expect(scene.sums()).toEqual([1, 0, 0, 0, 1]);
    expect(scene.get("/d")).toEqual(["give i1 up: GET /b", "retire i1 evicted", "spawn s3 /d"]);
    expect(scene.sums()).toEqual([0, 0, 1, 1, 1]);
  });

  test("goes as soon as it is done with that", () => {
    const scene = besideHung("closed");
    scene.get("/new");
    expect(scene.done(0)).toEqual(["retire i0 evicted"]);
    expect(scene.sums()).toEqual([1, 0, 1, 1, 0]);
  });

  test("lets a restart begin that waited for fewer of them to be busy", () => {
    const scene = new Scene({ max: 2, useGlobalQueue: true }, { ...shared, abandonMs: 30_000 });
    for (const app of ["/x", "/b"]) scene.get(app);
    for (const spawn of [0, 1]) scene.spawned(spawn, 1, true);
    scene.now = 1000;
    expect(scene.get("/y")).toEqual(["spawn s2 /y"]);
    scene.spawnFailed(2);
    scene.now = 1500;
    scene.get("/b");
    scene.spawned(3, 1, true);
    scene.abandon(1);
    expect(scene.get("/b", { restart: true })).toEqual([]);
    scene.now = 2500;
    expect(scene.get("/z")).toContain("reload /b");
  });

  test("keeps nobody's restart waiting", () => {
    const scene = besideHung("closed");
    scene.get("/new");
    scene.spawned(2);
    scene.get("/good");
    scene.setLimits({ max: 1 });
    expect(scene.get("/new", { restart: true })).toEqual(["reload /new"]);
  });
});

test("those who hang in their starts lose a place to who has none", () => {
  const scene = new Scene({ max: 2 }, { ...shared, slowSpawnMs: 10_000 });
  scene.get("/a");
  scene.get("/b");
  scene.get("/c");
  scene.now = 1000;
  expect(scene.tick()).toEqual(["spawn s2 /c"]);
  expect(scene.spawned(2)).toEqual(["grant g2 i0"]);
  expect(scene.sums()).toEqual([1, 1, 2, 1, 0]);
});

test("a spawn that has waited a second for its turn begins, if its application has none", () => {
  const scene = new Scene({}, { ...shared, spawnsAtOnce: 1 });
  scene.get("/a");
  scene.get("/a");
  expect(scene.get("/b")).toEqual([]);
  expect(scene.pool.nextDeadline()).toBe(1000);
  scene.now = 1000;
  expect(scene.tick()).toEqual(["spawn s1 /b"]);
});

/** The start of one application hangs, and the get of another waits. */
function hanging(): Scene {
  const scene = new Scene({ max: 1, useGlobalQueue: true }, { slowSpawnMs: 10_000 });
  scene.get("/slow");
  scene.now = 1;
  scene.get("/b");
  return scene;
}

describe("a spawn that has taken ten seconds", () => {
  test("gives its place to a get of another application", () => {
    const scene = hanging();
    expect(scene.pool.nextDeadline()).toBe(10_000);
    scene.now = 10_000;
    expect(scene.tick()).toEqual(["spawn s1 /b"]);
    expect(scene.sums()).toEqual([0, 0, 2, 1, 0]);
    expect(scene.spawned(1)).toEqual(["grant g1 i0"]);
  });

  test("joins the pool when it is ready, if an idle instance can make room", () => {
    const scene = hanging();
    scene.now = 10_000;
    scene.tick();
    scene.spawned(1);
    scene.close(1);
    expect(scene.spawned(0)).toEqual(["retire i0 evicted", "grant g0 i1"]);
    expect(scene.sums()).toEqual([1, 1, 0, 0, 0]);
  });

  test("serves who has waited for it outside the pool, if there is no room", () => {
    const scene = hanging();
    scene.now = 10_000;
    scene.tick();
    scene.spawned(1);
    expect(scene.spawned(0)).toEqual(["grant g0 i1"]);
    expect(scene.sums()).toEqual([1, 1, 0, 0, 1]);
    expect(scene.close(0)).toEqual(["retire i1 excess"]);
  });

  test("does not give it to its own application", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true }, { slowSpawnMs: 10_000 });
    scene.get("/slow");
    scene.get("/slow");
    scene.now = 10_000;
    expect(scene.tick()).toEqual([]);
  });
});
