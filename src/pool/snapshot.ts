/**
 * The pool at one moment, as plain data: what `inspect`, the status report and the metrics are made
 * of. The shape is PoolSnapshot in types.ts. Costs time in proportion to all there is; the pool
 * itself never takes one.
 */

import type { InspectedInstance } from "../wire/inspection.ts";
import type { ApplicationRecord, InstanceRecord, Spawn } from "./application.ts";
import type { PoolState } from "./state.ts";
import type { ApplicationSnapshot, InstanceId, PoolSnapshot } from "./types.ts";

/** Waiting gets shown for each application: those behind them say nothing new. */
const MAX_WAITERS_SHOWN = 100;

export function takeSnapshot(state: PoolState, now: number): PoolSnapshot {
  const oldestSessions = findOldestSessions(state);
  const all = [...state.applications.values()];
  const waitsSince = all.map(({ line }) => line.first?.arrivedMs ?? Infinity);
  const oldestMs = waitsSince.reduce((a, b) => Math.min(a, b), Infinity);
  // Comparing byte strings compares bytes.
  const inByteOrder = all.toSorted((a, b) => (a.root < b.root ? -1 : 1));
  return {
    limits: { ...state.limits },
    count: state.count,
    active: state.active,
    spawning: state.spawning,
    leaving: state.leaving,
    sessions: state.sessions.size,
    waiting: state.waiters.size,
    waitingOnGlobalQueue: state.waiters.size,
    oldestWaiterMs: oldestMs === Infinity ? null : now - oldestMs,
    counters: structuredClone(state.counters),
    applications: inByteOrder.map((application) =>
      showApplication(state, application, oldestSessions, now),
    ),
  };
}

/** When the oldest open session of each instance was opened. */
function findOldestSessions(state: PoolState): Map<InstanceId, number> {
  const oldest = new Map<InstanceId, number>();
  for (const { instance, openedMs } of state.sessions.values()) {
    oldest.set(instance.id, Math.min(openedMs, oldest.get(instance.id) ?? openedMs));
  }
  return oldest;
}

function showApplication(
  state: PoolState,
  application: ApplicationRecord,
  oldestSessions: ReadonlyMap<InstanceId, number>,
  now: number,
): ApplicationSnapshot {
  const { root, settings, available, full, outside, line, failures } = application;
  const { begun, outdated, planned, replacement } = application;
  const instances = [...available, ...full, ...outside].toSorted((a, b) => a.id - b.id);
  return {
    root,
    maxInstances: settings.maxInstances ?? null,
    restartPending: state.pendingRestarts.has(application),
    rollout: application.rollout ?? null,
    instances: instances.map((instance) =>
      showInstance(instance, oldestSessions.get(instance.id), now),
    ),
    waiting: line.size,
    waiters: line[Symbol.iterator]()
      .take(MAX_WAITERS_SHOWN)
      .map(({ arrivedMs, failedConnects }) => ({ ageMs: now - arrivedMs, failedConnects }))
      .toArray(),
    spawns: [
      ...[...outdated].map((spawn) => showSpawn(spawn, true, now)),
      ...(replacement === undefined ? [] : [showSpawn(replacement, false, now)]),
      ...[...begun, ...planned].map((spawn) => showSpawn(spawn, false, now)),
    ],
    counters: { ...application.counters },
    lastSpawnError:
      failures.last === undefined
        ? null
        : { message: failures.last.message, agoMs: now - failures.lastMs },
    pauseMs: failures.isPaused(now) ? failures.pausedUntilMs - now : null,
  };
}

function showInstance(
  instance: InstanceRecord,
  oldestSessionMs: number | undefined,
  now: number,
): InspectedInstance {
  return {
    pid: instance.pid,
    state: stateOf(instance),
    concurrency: instance.concurrency,
    sessions: instance.open,
    closing: instance.closing,
    keptSessions: instance.keeping?.sessions ?? 0,
    longSessions: instance.long,
    oldestSessionMs: oldestSessionMs === undefined ? null : now - oldestSessionMs,
    served: instance.served,
    requests: instance.requests,
    worn: instance.worn ?? null,
    ageMs: now - instance.readyMs,
    unusedMs: now - instance.lastUsedMs,
  };
}

function stateOf({
  standing,
  sessions,
  load,
  concurrency,
}: InstanceRecord): InspectedInstance["state"] {
  if (standing === "leaving" || standing === "dead") return standing;
  if (sessions === 0) return "idle";
  return load < concurrency ? "active" : "busy";
}

function showSpawn(
  { id, sinceMs }: Spawn,
  outdated: boolean,
  now: number,
): ApplicationSnapshot["spawns"][number] {
  return { state: id === undefined ? "planned" : "begun", ageMs: now - sinceMs, outdated };
}
