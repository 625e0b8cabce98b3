/** Snapshots for the tests of the reports: an empty pool, and what differs from it. */

import type { ApplicationSnapshot, PoolCounters, PoolSnapshot } from "../../src/pool/types.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import type { InspectedInstance } from "../../src/wire/inspection.ts";

export const noEvents: PoolCounters = {
  gets: 0,
  grants: 0,
  grantsOfBusy: 0,
  waits: 0,
  cancels: 0,
  sessionsClosed: 0,
  refusals: { queueFull: 0, timedOut: 0, spawnFailed: 0, cannotConnect: 0 },
  spawnsPlanned: 0,
  spawnsDropped: 0,
  spawnsBegun: 0,
  spawnsDone: 0,
  spawnsFailed: 0,
  restarts: 0,
  clears: 0,
  retirements: {
    idle: 0,
    evicted: 0,
    excess: 0,
    restarted: 0,
    requests: 0,
    age: 0,
    memory: 0,
    cleared: 0,
    detached: 0,
    outdated: 0,
    unreachable: 0,
    overdue: 0,
    died: 0,
  },
  deaths: 0,
  connectFailures: 0,
  moves: 0,
  recalls: { sent: 0, closed: 0, kept: 0, timedOut: 0 },
  peakCount: 0,
  peakActive: 0,
  peakWaiting: 0,
};

export function poolWith(changes: Partial<PoolSnapshot>): PoolSnapshot {
  return {
    limits: { max: 20, maxPerApp: 0, maxIdleMs: 120_000, useGlobalQueue: false },
    count: 0,
    active: 0,
    spawning: 0,
    leaving: 0,
    sessions: 0,
    waiting: 0,
    waitingOnGlobalQueue: 0,
    oldestWaiterMs: null,
    counters: noEvents,
    applications: [],
    ...changes,
  };
}

export function applicationWith(
  root: string,
  instances: readonly InspectedInstance[],
  changes: Partial<ApplicationSnapshot> = {},
): ApplicationSnapshot {
  return {
    root: root as ByteString,
    maxInstances: null,
    restartPending: false,
    rollout: null,
    counters: { spawnsDone: 0, spawnsFailed: 0, deaths: 0, restarts: 0 },
    instances,
    waiting: 0,
    waiters: [],
    spawns: [],
    lastSpawnError: null,
    pauseMs: null,
    ...changes,
  };
}

export function instanceWith(
  pid: number,
  changes: Partial<InspectedInstance> = {},
): InspectedInstance {
  return {
    pid,
    state: "idle",
    concurrency: 1,
    sessions: 0,
    closing: 0,
    keptSessions: 0,
    longSessions: 0,
    oldestSessionMs: null,
    served: 0,
    requests: 0,
    worn: null,
    ageMs: 5_000,
    unusedMs: 1_000,
    ...changes,
  };
}
