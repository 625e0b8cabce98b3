/**
 * How spawns end: an instance joins the pool or serves the gets it was begun for, or gets learn of
 * the failure.
 */

import type { ApplicationRecord, InstanceRecord, NewInstance, Spawn } from "./application.ts";
import { cover } from "./places.ts";
import { refuseLine, serveReady } from "./settle.ts";
import type { PoolState } from "./state.ts";
import type { SpawnFailure } from "./types.ts";
import { evict, leastUsed } from "./usefulness.ts";

/** Failed spawns in a row before the first pause: one may be an accident. */
const FAILURES_BEFORE_PAUSE = 2;

/**
 * A spawn has succeeded. Its instance is for its application's gets first, whoever else wants a
 * place.
 */
export function becomeReady(state: PoolState, spawn: Spawn, ready: NewInstance): InstanceRecord {
  const { application } = spawn;
  const isOutdated = spawn.order.list === application.outdated;
  const { isPlaced } = spawn;
  state.end(spawn);
  const instance = state.newInstance(spawn, ready);
  if (isOutdated) {
    // Only gets from before the restart or clear have a use for it.
    serveOutside(state, instance, "outdated", spawn.servesBefore);
    return instance;
  }
  application.lastConcurrency = ready.concurrency;
  application.failures.reset();
  // All that is here is of this code, unless old instances wait to be replaced.
  if (application.rollout !== undefined) {
    if (application.rollout !== "proven") state.tally("restarts", application);
    application.rollout = application.worn > 0 ? "proven" : undefined;
  }
  if (isPlaced || findRoom(state, application)) {
    state.move(instance, "pooled");
    serveReady(state, application);
    if (application.instances > 1) state.kept.evenOut(application);
  } else {
    serveOutside(state, instance, "excess", Infinity);
  }
  return instance;
}

/** Makes room for an instance whose place another has. @returns whether there is some. */
function findRoom(state: PoolState, application: ApplicationRecord): boolean {
  const { idle, limits, options } = state;
  if (state.places < limits.max) return true;
  if (application.line.size === 0 || state.places > limits.max) return false;
  const instance = options.shareAfterMs === undefined ? idle.first : leastUsed(state);
  if (instance === undefined) return false;
  evict(state, instance);
  if (instance.application !== application) cover(state, instance.application);
  return true;
}

/** Gives an instance outside the pool to gets from before `servesBefore`; then it goes. */
export function serveOutside(
  state: PoolState,
  instance: InstanceRecord,
  reason: "outdated" | "excess",
  servesBefore: number,
): void {
  const { line } = instance.application;
  instance.reason = reason;
  state.move(instance, "leaving");
  while (instance.open < instance.concurrency) {
    const waiter = line.first;
    if (waiter === undefined || waiter.id >= servesBefore) break;
    state.dequeue(waiter);
    state.grant(waiter, instance);
  }
  state.retireIfDone(instance);
}

/** A spawn has failed, which is the answer to every get that has waited since before it began. */
export function fail(state: PoolState, spawn: Spawn, failure: SpawnFailure): void {
  const { application } = spawn;
  const isOutdated = spawn.order.list === application.outdated;
  state.end(spawn);
  state.tally("spawnsFailed", application);
  // Code from before a restart says nothing about the code there is now.
  if (!isOutdated) noteFailure(state, application, failure, FAILURES_BEFORE_PAUSE);
  refuseLine(state, application, failure, spawn.beganAt);
}

/** A start has failed; the `most`-th in a row begins a pause. */
export function noteFailure(
  state: PoolState,
  application: ApplicationRecord,
  failure: SpawnFailure,
  most: number,
): void {
  const { failures, alarm } = application;
  failures.note(failure, most, state.options.failurePause, state.now);
  if (failures.isPaused(state.now)) state.alarms.set(alarm, failures.pausedUntilMs);
}
