// Upgraded sessions of an instance that has left the pool: kept for a time, then it is ended.

import { describe, expect, test } from "bun:test";
import { Scene } from "./scene.ts";

/** Two sessions of one instance, the first of them upgraded. */
function serving(upgradedMs: number | undefined): Scene {
  const scene = new Scene({ useGlobalQueue: true });
  scene.configure("/a", { upgradedMs });
  scene.get("/a");
  scene.spawned(0, 2, true);
  scene.get("/a");
  scene.long(0);
  scene.done(0);
  return scene;
}

describe("an instance out of the pool with an upgraded session", () => {
  test("is ended when that has had its time", () => {
    const scene = serving(1000);
    scene.close(1);
    scene.done(0);
    expect(scene.pool.nextDeadline()).not.toBe(1000);
    scene.clear();
    expect(scene.pool.nextDeadline()).toBe(1000);
    scene.now = 999;
    expect(scene.tick()).toEqual([]);
    scene.now = 1000;
    expect(scene.tick()).toEqual(["give i0 up: unknown"]);
    expect(scene.close(0)).toEqual(["retire i0 cleared"]);
  });

  test("finishes its other requests before", () => {
    const scene = serving(1000);
    scene.clear();
    scene.now = 1000;
    expect(scene.tick()).toEqual([]);
    scene.close(1);
    scene.now = 2000;
    expect(scene.tick()).toEqual(["give i0 up: unknown"]);
  });

  test("has the time from the upgrade, if that came later", () => {
    const scene = serving(1000);
    scene.close(0);
    scene.clear();
    scene.now = 5000;
    scene.long(1);
    expect(scene.pool.nextDeadline()).toBe(6000);
    expect(scene.close(1)).toEqual(["retire i0 cleared"]);
    scene.now = 6000;
    expect(scene.tick()).toEqual([]);
  });

  test("stays without a limit where none is configured", () => {
    const scene = serving(undefined);
    scene.close(1);
    scene.clear();
    scene.now = 1_000_000;
    expect(scene.tick()).toEqual([]);
  });
});
