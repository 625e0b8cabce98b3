// The snapshot: everything there is to know about a pool, in one stable shape.

import { describe, expect, test } from "bun:test";
import { fromText, toText } from "../../src/wire/bytes.ts";
import { poolWith } from "../status/snapshots.ts";
import { Scene } from "./scene.ts";

describe("a snapshot", () => {
  test("of an empty pool has every key, and is not changed by what comes after", () => {
    const scene = new Scene({ max: 3 });
    const before = scene.snapshot();
    scene.get("/a");
    scene.setLimits({ max: 4 });
    expect(before).toEqual(
      poolWith({ limits: { max: 3, maxPerApp: 0, maxIdleMs: 120_000, useGlobalQueue: false } }),
    );
  });

  test("shows what every application has and waits for, with ages", () => {
    const scene = new Scene({ max: 4 }, { spawnsAtOnce: 1 });
    scene.get("/a");
    scene.now = 10;
    scene.spawned(0, 2);
    scene.now = 20;
    scene.get("/a");
    scene.now = 30;
    scene.close(0);
    scene.get("/a");
    scene.now = 40;
    scene.get("/a");
    scene.now = 45;
    scene.get("/b");
    scene.now = 50;
    expect(scene.snapshot()).toMatchObject({ count: 1, active: 1, spawning: 2, sessions: 2 });
    expect(scene.snapshot().oldestWaiterMs).toBe(10);
    expect(scene.snapshot().applications as unknown[]).toEqual([
      {
        root: "/a",
        maxInstances: null,
        restartPending: false,
        rollout: null,
        counters: { spawnsDone: 1, spawnsFailed: 0, deaths: 0, restarts: 0, restartsRefused: 0 },
        instances: [
          {
            pid: 100,
            state: "busy",
            concurrency: 2,
            sessions: 2,
            closing: 0,
            keptSessions: 0,
            longSessions: 0,
            oldestSessionMs: 30,
            served: 1,
            requests: 1,
            worn: null,
            ageMs: 40,
            unusedMs: 20,
          },
        ],
        waiting: 1,
        waiters: [{ ageMs: 10, failedConnects: 0 }],
        spawns: [{ state: "begun", ageMs: 10, outdated: false }],
        lastSpawnError: null,
        pauseMs: null,
      },
      {
        root: "/b",
        maxInstances: null,
        restartPending: false,
        rollout: null,
        counters: { spawnsDone: 0, spawnsFailed: 0, deaths: 0, restarts: 0, restartsRefused: 0 },
        instances: [],
        waiting: 1,
        waiters: [{ ageMs: 5, failedConnects: 0 }],
        spawns: [{ state: "planned", ageMs: 5, outdated: false }],
        lastSpawnError: null,
        pauseMs: null,
      },
    ]);
  });

  test("lists applications in byte order of their roots", () => {
    const scene = new Scene();
    for (const app of ["/b", "/\u00e9", "/a/b", "/a", "/Z"]) scene.warm(app, 1);
    expect(scene.roots().map(toText)).toEqual(["/Z", "/a", "/a/b", "/b", "/\u00e9"]);
  });

  test("tells the states of instances apart", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawned(0, 2);
    const states = [stateOf(scene)];
    scene.get("/a");
    states.push(stateOf(scene));
    scene.close(0);
    scene.close(1);
    states.push(stateOf(scene));
    scene.get("/a");
    scene.clear();
    states.push(stateOf(scene));
    scene.died(0);
    states.push(stateOf(scene));
    expect(states).toEqual(["active", "busy", "idle", "leaving", "dead"]);
  });

  test("keeps the last spawn error after a success", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawnFailed(0, "no such file");
    scene.now = 7;
    scene.get("/a");
    scene.spawned(1);
    const lastSpawnError = { message: "no such file", agoMs: 7 };
    expect(scene.snapshot().applications[0]).toMatchObject({ lastSpawnError });
  });

  test("lists the first hundred gets of a line and counts all", () => {
    const scene = new Scene({ max: 1 });
    for (let n = 0; n < 150; n++) {
      scene.now = n;
      scene.get("/a");
    }
    const [application] = scene.snapshot().applications;
    expect(application?.waiting).toBe(150);
    expect(application?.waiters).toHaveLength(100);
    expect(application?.waiters[0]?.ageMs).toBe(149);
  });

  test("counts what has happened", () => {
    const scene = new Scene({ max: 2 }, { spawnsAtOnce: 1, maxQueue: 2 });
    for (const app of ["/a", "/b", "/c"]) scene.get(app);
    scene.spawned(0);
    scene.get("/a");
    scene.spawnFailed(1);
    scene.connectFailed(0);
    scene.spawned(2);
    scene.alternative(3);
    scene.close(3);
    scene.clear();
    scene.died(1);
    scene.close(0);
    scene.get("/d");
    scene.cancel(4);
    const none = new Scene().snapshot().counters;
    expect(scene.snapshot().counters).toEqual({
      ...none,
      gets: 5,
      grants: 3,
      grantsOfBusy: 1,
      waits: 3,
      cancels: 1,
      sessionsClosed: 2,
      refusals: { ...none.refusals, queueFull: 1, spawnFailed: 1 },
      spawnsPlanned: 4,
      spawnsBegun: 4,
      spawnsDone: 2,
      spawnsFailed: 1,
      clears: 1,
      retirements: { ...none.retirements, unreachable: 1, cleared: 1 },
      deaths: 1,
      connectFailures: 1,
      moves: 1,
      peakCount: 1,
      peakActive: 1,
      peakWaiting: 2,
    });
  });
});

describe("an application", () => {
  test("that was only refused is forgotten", () => {
    const scene = new Scene({}, { maxQueue: 1 });
    scene.get("/a");
    scene.get("/b");
    expect(scene.roots()).toHaveLength(1);
  });

  test("is remembered while an instance of it finishes a session", () => {
    const scene = new Scene();
    scene.get("/a");
    scene.spawned(0);
    scene.clear();
    expect(scene.roots()).toHaveLength(1);
    expect(scene.hasInstances("/a")).toBe(false);
    scene.close(0);
    expect(scene.roots()).toEqual([]);
  });

  test("is forgotten when another takes its last place", () => {
    const scene = new Scene({ max: 1 });
    for (let n = 0; n < 20; n++) scene.warm(`/app-${n}`, 1);
    expect(scene.roots()).toEqual([fromText("/app-19")]);
  });
});

function stateOf(scene: Scene): string | undefined {
  return scene.snapshot().applications[0]?.instances[0]?.state;
}
