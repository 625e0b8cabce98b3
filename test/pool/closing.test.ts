// An instance that reports is free when its client has closed the session and it has said `done`.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

/** One instance that reports, and the sessions that gets have of it. */
function reporting(concurrency = 1, limits = {}): Scene {
  const scene = new Scene({ max: 2, ...limits });
  scene.get("/a");
  scene.spawned(0, concurrency, true);
  return scene;
}

function shown(scene: Scene) {
  const [instance] = scene.snapshot().applications[0]?.instances ?? [];
  return [instance?.state, instance?.sessions, instance?.closing];
}

describe("an instance whose session is closed before it is done", () => {
  test("is not idle until it says done", () => {
    const scene = reporting();
    scene.close(0);
    expect(shown(scene)).toEqual(["busy", 0, 1]);
    expect(scene.pool.active).toBe(0);
    scene.done(0);
    expect(shown(scene)).toEqual(["idle", 0, 0]);
  });

  test("is not idle either when it was done first, until its client closes", () => {
    const scene = reporting();
    scene.done(0);
    expect(shown(scene)).toEqual(["busy", 1, 0]);
    scene.close(0);
    expect(shown(scene)).toEqual(["idle", 0, 0]);
  });

  test("is given to the get that waits, as soon as it is done", () => {
    const scene = reporting();
    scene.close(0);
    scene.now = 5;
    expect(scene.get("/a")).toEqual([]);
    scene.now = 7;
    expect(scene.done(0)).toEqual(["grant g1 i0"]);
  });

  test("is waited for 20 ms from the close, then another one is spawned", () => {
    const scene = reporting();
    scene.close(0);
    scene.now = 5;
    scene.get("/a");
    expect(scene.pool.nextDeadline()).toBe(20);
    scene.now = 20;
    expect(scene.tick()).toEqual(["spawn s1 /a"]);
    expect(scene.spawned(1, 1, true)).toEqual(["grant g1 i1"]);
  });

  test("is not waited for once it has taken longer", () => {
    const scene = reporting();
    scene.close(0);
    scene.now = 21;
    expect(scene.get("/a")).toEqual(["spawn s1 /a"]);
  });

  test("gives no place to another application, nor grows too old", () => {
    const scene = reporting(1, { max: 1, maxIdleMs: 1000, useGlobalQueue: true });
    scene.close(0);
    scene.now = 5000;
    expect(scene.get("/b")).toEqual([]);
    expect(scene.tick()).toEqual([]);
    expect(scene.done(0)).toEqual(["retire i0 evicted", "spawn s1 /b"]);
  });

  test("keeps all gets waiting under the global queue, if it is the only one", () => {
    const scene = reporting(1, { max: 1, useGlobalQueue: true });
    scene.close(0);
    scene.get("/a");
    scene.now = 60_000;
    expect(scene.tick()).toEqual([]);
    expect(scene.done(0)).toEqual(["grant g1 i0"]);
  });

  test("is shared without it, when no other place is to be had", () => {
    const scene = reporting(1, { max: 1 });
    scene.close(0);
    scene.get("/a");
    scene.now = 20;
    expect(scene.tick()).toEqual(["grant g1 i0"]);
  });

  test("may go when it has left the pool: it has its own time to leave", () => {
    const scene = reporting();
    scene.close(0);
    expect(scene.clear()).toEqual(["retire i0 cleared"]);
  });

  test("takes as many places as it is not done with sessions", () => {
    const scene = reporting(2);
    scene.get("/a");
    scene.close(0);
    scene.now = 30;
    expect(shown(scene)).toEqual(["busy", 1, 1]);
    expect(scene.get("/a")).toEqual(["spawn s1 /a"]);
    expect(scene.done(0)).toEqual(["grant g2 i0"]);
  });
});

test("an instance that does not report is free when its client says so", () => {
  const scene = new Scene();
  scene.get("/a");
  scene.spawned(0);
  scene.close(0);
  expect(shown(scene)).toEqual(["idle", 0, 0]);
});

test("a session that was never connected is none that is reported", () => {
  const scene = reporting();
  scene.unused(0);
  expect(shown(scene)).toEqual(["idle", 0, 0]);
  expect(() => scene.done(0)).toThrow("sessionsDone of 1 of instance 0: it has 0");
});

test("a session that moves, or whose connect fails, leaves nothing to be reported", () => {
  const scene = reporting();
  scene.get("/a");
  scene.spawned(1, 1, true);
  expect(scene.alternative(1)).toBe(0);
  scene.connectFailed(1);
  expect(scene.sums()).toEqual([1, 1, 0, 0, 1]);
  expect(scene.snapshot().applications[0]?.instances[0]?.closing).toBe(0);
});

describe("a session that lasts", () => {
  test("takes no place, and keeps its instance from being idle", () => {
    const scene = reporting(1, { max: 1, maxIdleMs: 10 });
    scene.long(0);
    expect(shown(scene)).toEqual(["active", 1, 0]);
    expect(scene.get("/a")).toEqual(["grant g1 i0"]);
    scene.close(1);
    scene.done(0);
    scene.now = 1000;
    expect(scene.tick()).toEqual([]);
    scene.done(0);
    expect(scene.close(0)).toEqual([]);
    expect(shown(scene)).toEqual(["idle", 0, 0]);
  });

  test("makes room for the get that waits when it becomes one", () => {
    const scene = reporting(1, { max: 1, useGlobalQueue: true });
    scene.get("/a");
    expect(scene.long(0)).toEqual(["grant g1 i0"]);
    expect(scene.long(0)).toEqual([]);
  });
});
