/** The JSON of `inspect`: its shape, and roots that are no text. */

import { expect, test } from "bun:test";
import { snapshotJson } from "../../src/status/json.ts";
import { applicationWith, instanceWith, noEvents, poolWith } from "./snapshots.ts";

const parsed = (json: Uint8Array): unknown => JSON.parse(Buffer.from(json).toString("utf8"));

const snapshot = poolWith({
  count: 1,
  applications: [
    applicationWith("/srv/\xc3\xa9", [instanceWith(7, { state: "busy", sessions: 1 })], {
      maxInstances: 3,
      waiting: 1,
      waiters: [{ ageMs: 30, failedConnects: 0 }],
      spawns: [{ state: "begun", ageMs: 12, outdated: false }],
      lastSpawnError: { message: "exit status 1", agoMs: 99 },
      pauseMs: 2_000,
    }),
    applicationWith("/srv/\xff\n", []),
  ],
});

test("the shape of inspect is stable", () => {
  expect(parsed(snapshotJson(snapshot))).toEqual({
    limits: { max: 20, maxPerApp: 0, maxIdleMs: 120_000, useGlobalQueue: false },
    count: 1,
    active: 0,
    spawning: 0,
    leaving: 0,
    sessions: 0,
    waiting: 0,
    waitingOnGlobalQueue: 0,
    oldestWaiterMs: null,
    counters: noEvents,
    applications: [
      {
        root: "/srv/é",
        rootBase64: null,
        maxInstances: 3,
        restartPending: false,
        rollout: null,
        counters: { spawnsDone: 0, spawnsFailed: 0, deaths: 0, restarts: 0, restartsRefused: 0 },
        instances: [
          {
            pid: 7,
            state: "busy",
            concurrency: 1,
            sessions: 1,
            closing: 0,
            keptSessions: 0,
            longSessions: 0,
            oldestSessionMs: null,
            served: 0,
            requests: 0,
            worn: null,
            ageMs: 5_000,
            unusedMs: 1_000,
          },
        ],
        waiting: 1,
        waiters: [{ ageMs: 30, failedConnects: 0 }],
        spawns: [{ state: "begun", ageMs: 12, outdated: false }],
        lastSpawnError: { message: "exit status 1", agoMs: 99 },
        pauseMs: 2_000,
      },
      {
        root: "/srv/\ufffd\n",
        rootBase64: "L3Nydi//Cg==",
        maxInstances: null,
        restartPending: false,
        rollout: null,
        counters: { spawnsDone: 0, spawnsFailed: 0, deaths: 0, restarts: 0, restartsRefused: 0 },
        instances: [],
        waiting: 0,
        waiters: [],
        spawns: [],
        lastSpawnError: null,
        pauseMs: null,
      },
    ],
  });
});

test("the JSON is UTF-8 whatever the roots are, and begins like an object", () => {
  const json = snapshotJson(snapshot);
  expect(() => new TextDecoder("utf-8", { fatal: true }).decode(json)).not.toThrow();
  expect(json[0]).toBe("{".charCodeAt(0));
});
