// Instances that have served all they may before what replaces them is ready.

import { expect, test } from "bun:test";

import { Scene } from "./scene.ts";

const failurePause = { firstMs: 1000, maxMs: 30_000 };

/** An instance that may serve ten requests, and has had nine sessions of one each. */
function served(many = 9, slowSpawnMs = Infinity): Scene {
  const limits = { max: 1, useGlobalQueue: true };
  const scene = new Scene(limits, { failurePause, slowSpawnMs });
  scene.configure("/a", { maxRequests: 10 });
  scene.warm("/a", 1);
  for (let get = 1; get < many; get += 1) {
    scene.get("/a");
    scene.close(get);
  }
  return scene;
}

test("it serves a tenth more than its limit, and then gets wait for the other", () => {
  const scene = served();
  scene.get("/a");
  expect(scene.close(9)).toEqual(["spawn s1 /a"]);
  expect(scene.get("/a")).toEqual(["grant g10 i0"]);
  expect(scene.get("/a")).toEqual([]);
  expect(scene.close(10)).toEqual([]);
  expect(scene.spawned(1)).toEqual(["retire i0 requests", "grant g11 i1"]);
});

test("open sessions count; those that are kept are asked for", () => {
  const scene = served(1);
  scene.get("/a", { kept: true });
  expect(scene.served(1, 9)).toEqual(["spawn s1 /a"]);
  expect(scene.served(1, 1)).toEqual(["recall g1"]);
  expect(scene.close(1)).toEqual([]);
  expect(scene.get("/a")).toEqual([]);
  expect(scene.spawned(1)).toEqual(["retire i0 requests", "grant g2 i1"]);
});

test("with a limit of one, each request has an instance of its own", () => {
  const scene = new Scene({ max: 1, useGlobalQueue: true }, { failurePause });
  scene.configure("/a", { maxRequests: 1 });
  scene.get("/a");
  expect(scene.spawned(0)).toEqual(["grant g0 i0", "spawn s1 /a"]);
  expect(scene.close(0)).toEqual([]);
  expect(scene.get("/a")).toEqual([]);
  expect(scene.spawned(1)).toEqual(["retire i0 requests", "grant g1 i1", "spawn s2 /a"]);
});

test("it goes on if the other does not start, until one has", () => {
  const scene = served(11);
  expect(scene.get("/a")).toEqual([]);
  expect(scene.spawnFailed(1)).toEqual(["grant g11 i0"]);
  for (let get = 12; get < 20; get += 1) {
    expect(scene.close(get - 1)).toEqual([]);
    expect(scene.get("/a")).toEqual([`grant g${get} i0`]);
  }
  scene.now = 1000;
  expect(scene.tick()).toEqual(["spawn s2 /a"]);
  expect(scene.close(19)).toEqual([]);
  expect(scene.get("/a")).toEqual(["grant g20 i0"]);
  expect(scene.spawned(2)).toEqual([]);
  expect(scene.close(20)).toEqual(["retire i0 requests"]);
});

test("it goes on if the other takes so long that it may hang", () => {
  const scene = served(11, 500);
  expect(scene.get("/a")).toEqual([]);
  expect(scene.pool.nextDeadline()).toBe(500);
  scene.now = 500;
  expect(scene.tick()).toEqual(["grant g11 i0"]);
  scene.close(11);
  expect(scene.get("/a")).toEqual(["grant g12 i0"]);
});

test("it goes on with another limit, and without the global queue", () => {
  const scene = served(11);
  expect(scene.get("/a")).toEqual([]);
  expect(scene.configure("/a", { maxRequests: 20 })).toEqual(["grant g11 i0"]);
  const bound = served(10);
  bound.setLimits({ useGlobalQueue: false });
  bound.get("/a");
  bound.close(10);
  expect(bound.get("/a")).toEqual(["grant g11 i0"]);
});
