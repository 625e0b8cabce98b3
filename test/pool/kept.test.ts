// Sessions that clients keep: who is asked for them, when, and what waits for the answers.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

/** Gets of sessions that are kept, on instances that serve so many; g0 … have i0 …, in turn. */
function keep(scene: Scene, app: string, sessions: number, concurrency = 1): void {
  for (let n = 0; n < sessions; n++) {
    const spawn = /spawn s(\d+)/.exec(scene.get(app, { kept: true }).join())?.[1];
    if (spawn !== undefined) scene.spawned(Number(spawn), concurrency);
  }
}

describe("a get of an application whose sessions are kept", () => {
  test("asks for the one open longest before it spawns", () => {
    const scene = new Scene();
    keep(scene, "/a", 3, 3);
    expect(scene.get("/a")).toEqual(["recall g0"]);
    expect(scene.close(0)).toEqual(["grant g3 i0"]);
  });

  test("asks before it shares", () => {
    const scene = new Scene({ max: 1 });
    keep(scene, "/a", 1);
    expect(scene.get("/a")).toEqual(["recall g0"]);
    expect(scene.keep(0)).toEqual(["grant g1 i0"]);
  });

  test("asks for the next when the answer is keep, and goes on when nobody is left", () => {
    const scene = new Scene();
    keep(scene, "/a", 2, 2);
    expect(scene.get("/a")).toEqual(["recall g0"]);
    expect(scene.keep(0)).toEqual(["recall g1"]);
    expect(scene.keep(1)).toEqual(["spawn s1 /a"]);
    expect(scene.close(0)).toEqual(["grant g2 i0"]);
  });

  test("goes on after 20 ms without an answer", () => {
    const scene = new Scene();
    keep(scene, "/a", 1);
    scene.get("/a");
    expect(scene.pool.nextDeadline()).toBe(20);
    scene.now = 20;
    expect(scene.tick()).toEqual(["spawn s1 /a"]);
    expect(scene.snapshot().counters.recalls).toEqual({ sent: 1, closed: 0, kept: 0, timedOut: 1 });
  });

  test("goes on 20 ms after its arrival, however many answers were keep until then", () => {
    const scene = new Scene();
    keep(scene, "/a", 3, 3);
    scene.get("/a");
    scene.now = 15;
    expect(scene.keep(0)).toEqual(["recall g1"]);
    scene.now = 20;
    expect(scene.tick()).toEqual(["spawn s1 /a"]);
    expect(scene.close(1)).toEqual(["grant g3 i0"]);
  });

  test("asks for nothing while an answer is due that nobody waits for", () => {
    const scene = new Scene();
    keep(scene, "/a", 3, 3);
    scene.get("/a");
    scene.cancel(3);
    expect(scene.get("/a")).toEqual([]);
    expect(scene.get("/a")).toEqual(["recall g1"]);
    expect(scene.get("/a")).toEqual(["recall g2"]);
    expect(scene.get("/a")).toEqual(["spawn s1 /a"]);
  });

  test("has whichever session is given back first, first come first served", () => {
    const scene = new Scene();
    keep(scene, "/a", 2, 2);
    scene.get("/a");
    scene.get("/a");
    expect(scene.close(1)).toEqual(["grant g2 i0"]);
    expect(scene.close(0)).toEqual(["grant g3 i0"]);
  });

  test("asks nobody twice", () => {
    const scene = new Scene({ max: 1 });
    keep(scene, "/a", 1);
    scene.get("/a");
    scene.keep(0);
    expect(scene.get("/a")).toEqual(["grant g2 i0"]);
    expect(scene.keep(0)).toEqual([]);
  });

  test("asks for a session that begins while it waits, so that nobody gains by keeping it", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true });
    keep(scene, "/a", 1);
    expect(scene.get("/a", { kept: true })).toEqual(["recall g0"]);
    scene.get("/a");
    expect(scene.close(0)).toEqual(["grant g1 i0", "recall g1"]);
    expect(scene.keep(1)).toEqual([]);
    expect(scene.close(1)).toEqual(["grant g2 i0"]);
  });

  test("asks nobody while an instance can take it", () => {
    const scene = new Scene();
    keep(scene, "/a", 2, 3);
    expect(scene.get("/a")).toEqual(["grant g2 i0"]);
  });

  test("shares at once where the queue has no room for it", () => {
    const scene = new Scene({ max: 1 }, { maxQueue: 1 });
    keep(scene, "/a", 1);
    scene.get("/b");
    expect(scene.effects).toEqual(["recall g0"]);
    expect(scene.get("/a")).toEqual(["grant g2 i0"]);
  });

  test("that waits in vain is refused like all others", () => {
    const scene = new Scene({ max: 1, useGlobalQueue: true }, { maxQueue: 1, maxWaitMs: 100 });
    keep(scene, "/a", 1);
    scene.get("/a");
    expect(scene.get("/a")).toEqual(["refuse g2 busy: 1 get is waiting already"]);
    scene.keep(0);
    scene.now = 100;
    expect(scene.tick()).toEqual(["refuse g1 busy: waited 0.1 s for an instance of '/a'"]);
  });
});

describe("a get of an application without instances", () => {
  test("asks for all sessions of the instance unused longest that has kept ones alone", () => {
    const scene = new Scene({ max: 3 });
    keep(scene, "/a", 2, 2);
    scene.now = 1;
    scene.get("/b");
    scene.spawned(1, 2);
    scene.get("/b", { kept: true });
    scene.now = 2;
    keep(scene, "/c", 1);
    expect(scene.get("/d")).toEqual(["recall g0", "recall g1"]);
    expect(scene.close(1)).toEqual([]);
    expect(scene.close(0)).toEqual(["retire i0 evicted", "spawn s3 /d"]);
  });

  test("asks elsewhere when an answer is keep", () => {
    const scene = new Scene({ max: 2 });
    keep(scene, "/a", 1);
    scene.now = 1;
    keep(scene, "/b", 1);
    expect(scene.get("/c")).toEqual(["recall g0"]);
    expect(scene.keep(0)).toEqual(["recall g1"]);
    expect(scene.close(1)).toEqual(["retire i1 evicted", "spawn s2 /c"]);
  });

  test("asks for one instance, and the get of a second application for another", () => {
    const scene = new Scene({ max: 2 });
    keep(scene, "/a", 1);
    keep(scene, "/b", 1);
    expect(scene.get("/c")).toEqual(["recall g0"]);
    expect(scene.get("/c")).toEqual([]);
    expect(scene.get("/d")).toEqual(["recall g1"]);
  });

  test("asks nobody while there is room or an idle instance", () => {
    const scene = new Scene({ max: 2 });
    keep(scene, "/a", 1);
    expect(scene.get("/b")).toEqual(["spawn s1 /b"]);
    scene.spawned(1);
    scene.close(1);
    expect(scene.get("/c")).toEqual(["retire i1 evicted", "spawn s2 /c"]);
  });
});

describe("instances that have to go", () => {
  test("have their kept sessions asked for when they leave the pool", () => {
    const scene = new Scene();
    keep(scene, "/a", 2, 2);
    expect(scene.clear()).toEqual(["recall g0", "recall g1"]);
    expect(scene.keep(0)).toEqual([]);
    expect(scene.close(0)).toEqual([]);
    expect(scene.close(1)).toEqual(["retire i0 cleared"]);
  });

  test("of a restart too; the answers make no room in the new one", () => {
    const scene = new Scene();
    keep(scene, "/a", 1);
    expect(scene.get("/a", { restart: true })).toEqual(["recall g0", "reload /a", "spawn s1 /a"]);
  });

  test("have a session asked for that begins after they have left", () => {
    const scene = new Scene();
    scene.get("/a", { kept: true });
    scene.clear();
    expect(scene.spawned(0)).toEqual(["grant g0 i0", "recall g0"]);
  });

  test("are emptied while there are more than max", () => {
    const scene = new Scene();
    keep(scene, "/a", 1);
    scene.now = 1;
    keep(scene, "/b", 1);
    expect(scene.setLimits({ max: 1 })).toEqual(["recall g0"]);
    expect(scene.close(0)).toEqual(["retire i0 excess"]);
  });
});

test("a session that moves to another instance is asked for there", () => {
  const scene = new Scene();
  scene.warm("/a", 2);
  scene.get("/a", { kept: true });
  expect(scene.alternative(2)).toBe(0);
  expect(scene.snapshot().applications[0]?.instances.map((one) => one.keptSessions)).toEqual([
    1, 0,
  ]);
  scene.get("/a");
  expect(scene.get("/a")).toEqual(["recall g2"]);
  expect(scene.close(2)).toEqual(["grant g4 i0"]);
});

test("a session that is not kept is never asked for", () => {
  const scene = new Scene({ max: 1 });
  scene.get("/a");
  scene.spawned(0);
  expect(scene.get("/a")).toEqual(["grant g1 i0"]);
  expect(scene.get("/b")).toEqual([]);
  expect(scene.keep(0)).toEqual([]);
});
