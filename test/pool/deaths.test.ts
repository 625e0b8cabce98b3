// Instances that end though nobody let them go, and when that counts as a failed start.

import { expect, test } from "bun:test";
import { Scene } from "./scene.ts";

const PAUSE = { firstMs: 1000, maxMs: 3000 };

/** One more get of /a, whose instance is ready at once. @returns the instance. */
function start(scene: Scene): number {
  const effects = scene.get("/a");
  const spawn = /spawn s(\d+)/.exec(effects.join());
  if (spawn !== null) effects.push(...scene.spawned(Number(spawn[1])));
  const instance = /grant g\d+ i(\d+)/.exec(effects.join())?.[1];
  if (instance === undefined) throw new Error(`no instance: ${effects.join()}`);
  return Number(instance);
}

const pauseMs = (scene: Scene) => scene.snapshot().applications[0]?.pauseMs;

/** So many instances that die at once. */
function startAndDie(scene: Scene, times: number, afterMs = 0): void {
  for (let n = 0; n < times; n++) {
    expect(pauseMs(scene) ?? null).toBe(null);
    const instance = start(scene);
    scene.now += afterMs;
    scene.died(instance);
  }
}

test("ten in a row that die right after they were ready begin a pause, with that as the error", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  startAndDie(scene, 10, 12);
  expect(scene.get("/a")).toEqual(["refuse g10 spawnFailed: it died 12 ms after it was ready"]);
  expect(scene.pool.nextDeadline()).toBe(scene.now + 1000);
});

test("each further one doubles the pause, though it was ready in between", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  startAndDie(scene, 10);
  const pauses = [];
  for (let n = 0; n < 4; n++) {
    pauses.push(pauseMs(scene));
    scene.now += pauseMs(scene) ?? 0;
    scene.died(start(scene));
  }
  expect(pauses).toEqual([1000, 2000, 3000, 3000]);
});

test("two failed spawns after early deaths begin one as ever", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  startAndDie(scene, 1);
  scene.get("/a");
  scene.spawnFailed(1);
  expect(scene.get("/a")).toEqual(["refuse g2 spawnFailed: it broke"]);
});

test("a session that ends with its instance proves nothing, whichever is noticed first", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  for (let get = 0; get < 10; get++) {
    const instance = start(scene);
    if (get % 2 === 1) scene.died(instance);
    scene.close(get);
    scene.now += 20;
    if (get % 2 === 0) scene.died(instance);
  }
  expect(pauseMs(scene)).toBe(980);
});

test("an instance that lives on after a session may be killed as often as one likes", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  for (let get = 0; get < 12; get++) {
    const instance = start(scene);
    scene.close(get);
    scene.now += 101;
    scene.died(instance);
  }
  expect(scene.roots()).toEqual([]);
});

test("so may one that was ready five seconds ago", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  for (let n = 0; n < 12; n++) {
    const instance = start(scene);
    scene.now += 5000;
    scene.died(instance);
  }
  expect(pauseMs(scene)).toBe(null);
});

test("a few that are killed young are no reason for a pause, but can be seen", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  startAndDie(scene, 9);
  expect(start(scene)).toBe(9);
  expect(scene.snapshot().applications[0]?.lastSpawnError?.message).toContain("it died 0 ms");
});

test("an instance that refuses its first connections has not started either", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  startAndDie(scene, 8);
  start(scene);
  expect(scene.connectFailed(8)).toEqual(["retire i8 unreachable", "spawn s9 /a"]);
  scene.spawned(9);
  expect(scene.connectFailed(8)).toEqual([
    "retire i9 unreachable",
    "refuse g8 spawnFailed: it could not be connected to 0 ms after it was ready: ECONNREFUSED",
  ]);
});

test("one that has left the pool before is no failed start", () => {
  const scene = new Scene({}, { failurePause: PAUSE });
  for (let n = 0; n < 12; n++) {
    const instance = start(scene);
    scene.clear();
    scene.died(instance);
  }
  expect(pauseMs(scene)).toBe(null);
  expect(scene.snapshot().applications[0]?.lastSpawnError).toBe(null);
});

test("a pool that knows no pauses takes no note", () => {
  const scene = new Scene();
  for (let n = 0; n < 12; n++) scene.died(start(scene));
  expect(scene.snapshot().applications[0]?.lastSpawnError).toBe(null);
});
