/** Snapshots for the tests of the reports: an empty pool, and what differs from it. */

import { newCounters } from "../../src/pool/counters.ts";
import { bucketEndsMs, type ApplicationFigures } from "../../src/wire/request-figures.ts";
import type { ApplicationSnapshot, PoolCounters, PoolSnapshot } from "../../src/pool/types.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import { snapshotJson } from "../../src/status/json.ts";
import { type InspectedInstance, type Inspection } from "../../src/wire/inspection.ts";

export const noEvents: PoolCounters = newCounters();

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

/** As `inspect` tells it. */
export function inspected(pool: PoolSnapshot): Inspection {
  return JSON.parse(Buffer.from(snapshotJson(pool)).toString()) as Inspection;
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
    counters: { spawnsDone: 0, spawnsFailed: 0, deaths: 0, restarts: 0, restartsRefused: 0 },
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

/** Figures of an application with so many requests a class, 1.2 ms for most. */
export function figuresWith(statuses: Partial<ApplicationFigures["statuses"]>): ApplicationFigures {
  const requests = Object.values(statuses).reduce((sum, n) => sum + n, 0);
  const rest = Array.from({ length: bucketEndsMs.length - 2 }, () => 0);
  return {
    statuses: { "1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0, ...statuses },
    times: {
      counts: [1, requests - 2, 0, ...rest].map((n) => Math.max(0, n)),
      sumMs: 1.5 * requests,
    },
    waits: { counts: [requests, 0, 0, ...rest], sumMs: 0.25 * requests },
    bytesSent: 100 * requests,
    underWay: requests === 0 ? 0 : 3,
    requestsPerSecond: requests / 60,
    p50Ms: requests === 0 ? null : 1.23,
    p99Ms: requests === 0 ? null : 2468,
    waitP99Ms: requests === 0 ? null : 0.5,
  };
}
