// Requests that take too long: their instances are given up when it is sure that they are the ones.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

/** An instance that reports, or does not, with so many open sessions. */
function serving(sessions: number, concurrency = 1, options = {}, reportsDone = true): Scene {
  const scene = new Scene({ useGlobalQueue: true }, { abandonMs: 1000, ...options });
  scene.get("/a");
  scene.spawned(0, concurrency, reportsDone);
  for (let get = 1; get < sessions; get++) scene.get("/a");
  return scene;
}

describe("an abandoned request", () => {
  test("has its time, then its instance is given up and its place is free", () => {
    const scene = serving(1);
    expect(scene.abandon(0, "GET /slow")).toEqual([]);
    expect(scene.pool.nextDeadline()).toBe(1000);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["give i0 up: GET /slow", "retire i0 overdue"]);
    expect(scene.sums()).toEqual([0, 0, 0, 0, 0]);
  });

  test("is no more of interest when the instance is done with it", () => {
    const scene = serving(1);
    scene.abandon(0);
    scene.now = 999;
    scene.done(0);
    scene.now = 1000;
    expect(scene.tick()).toEqual([]);
  });

  test("has a time of its own, as the application is configured, or none", () => {
    const scene = serving(1);
    scene.configure("/a", { abandonMs: 0 });
    scene.abandon(0);
    scene.now = 100_000;
    expect(scene.tick()).toEqual([]);
  });

  test("of an instance that serves several is sure once it is silent", () => {
    const scene = serving(2, 2);
    scene.abandon(0);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["give i0 up: GET /"]);
    expect(scene.close(1)).toEqual(["retire i0 overdue"]);
  });

  test("is left in doubt while younger ones could be what is not done", () => {
    const scene = serving(3, 3);
    scene.abandon(0, "GET /old");
    scene.now = 500;
    scene.abandon(1, "GET /young");
    scene.done(0);
    scene.now = 1000;
    expect(scene.tick()).toEqual([]);
    scene.now = 2000;
    expect(scene.tick()).toEqual(["give i0 up: GET /old"]);
  });

  test("that is late has no time left, but for the report under way", () => {
    const scene = serving(1);
    scene.abandon(0, "GET /late", true);
    scene.now = 20;
    expect(scene.tick()).toEqual(["give i0 up: GET /late", "retire i0 overdue"]);
  });
});

const silent = () => serving(2, 2, { requestMs: 300 }, false);

describe("a session that its client says is overdue, of an instance that reports nothing", () => {
  test("ends the instance, if nothing else of it has ended since", () => {
    const scene = silent();
    expect(scene.abandon(0, "GET /late", true)).toEqual(["give i0 up: GET /late"]);
    expect(scene.close(1)).toEqual(["retire i0 overdue"]);
  });

  test("does not, if another of its sessions was closed as it should be", () => {
    const scene = silent();
    scene.close(1);
    expect(scene.abandon(0, "GET /late", true)).toEqual([]);
  });

  test("does not, if there is no limit: its processes are not ours to end", () => {
    const scene = serving(2, 2, {}, false);
    expect(scene.abandon(0, "GET /late", true)).toEqual([]);
  });
});

describe("a session that is open for too long", () => {
  test("ends its instance", () => {
    const scene = serving(1, 1, { requestMs: 300 });
    scene.now = 300;
    expect(scene.tick()).toEqual(["give i0 up: unknown"]);
    expect(scene.close(0)).toEqual(["retire i0 overdue"]);
  });

  test("does not, if the instance is done with it and its client reads slowly", () => {
    const scene = serving(1, 1, { requestMs: 300 });
    scene.done(0);
    scene.now = 300;
    expect(scene.tick()).toEqual([]);
  });

  test("does not, if it was upgraded", () => {
    const scene = serving(1, 1, { requestMs: 300 });
    scene.long(0);
    scene.now = 300;
    expect(scene.tick()).toEqual([]);
  });
});
