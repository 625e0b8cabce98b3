/**
 * How spawns end: an instance joins the pool or serves the gets it was begun for, or gets learn of
 * the failure. One for a worn instance (worn.ts) takes over, or what it was for serves on.
 */

import type { ApplicationRecord, InstanceRecord, NewInstance, Spawn } from "./application.ts";
import { cover, hasPlace, maySpawn } from "./places.ts";
import { refuseLine, serveReady } from "./settle.ts";
import type { PoolState } from "./state.ts";
import type { SpawnFailure } from "./types.ts";
import { evict, leastUsed } from "./usefulness.ts";

/** Failed spawns in a row before the first pause: one may be an accident. */
const FAILURES_BEFORE_PAUSE = 2;

const isWorn = ({ worn }: InstanceRecord) => worn !== undefined;

/** A spawn has succeeded. Its application's gets come first, whoever else wants a place. */
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

/** A replacement is ready: it takes the place of a worn instance, the one with least to do. */
export function takeOver(state: PoolState, replacement: Spawn, ready: NewInstance): InstanceRecord {
  const { application } = replacement;
  const { available, full, failures } = application;
  const isCurrent = state.endReplacement(replacement);
  const instance = state.newInstance(replacement, ready);
  if (!isCurrent) {
    serveOutside(state, instance, "outdated", 0);
    return instance;
  }
  application.lastConcurrency = ready.concurrency;
  failures.reset();
  if (application.rollout === "trying") {
    application.rollout = "proven";
    state.tally("restarts", application);
  }
  const old = available.find(isWorn) ?? full.find(isWorn);
  if (old?.worn !== undefined) state.leave(old, "leaving", old.worn);
  else if (!hasPlace(state) || !maySpawn(state, application)) {
    serveOutside(state, instance, "excess", Infinity);
    return instance;
  }
  state.move(instance, "pooled");
  letUnusedGo(state, application, replacement.sinceMs);
  serveReady(state, application);
  return instance;
}

/** Old instances that were idle all the time since a replacement began need none. */
function letUnusedGo(state: PoolState, application: ApplicationRecord, sinceMs: number): void {
  const least = Math.max(1, application.minInstances);
  for (const instance of application.available) {
    if (application.count <= least) return;
    const { worn, sessions, lastUsedMs } = instance;
    if (worn === undefined || sessions > 0 || lastUsedMs > sinceMs) continue;
    state.leave(instance, "leaving", worn);
  }
}

/** A replacement has failed: what it was for serves on. */
export function serveOn(state: PoolState, replacement: Spawn, failure: SpawnFailure): void {
  const { application } = replacement;
  state.tally("spawnsFailed", application);
  if (!state.endReplacement(replacement)) return;
  if (application.rollout !== "trying" && state.options.failurePause !== undefined) {
    // The first is reason enough to wait: nobody waits for it.
    return noteFailure(state, application, failure, 1);
  }
  application.failures.remember(failure, state.now);
  for (const instance of application.available) state.unwear(instance);
  for (const instance of application.full) state.unwear(instance);
  state.wearing.delete(application);
  if (application.rollout === undefined) return;
  application.rollout = "refused";
  application.counters.restartsRefused++;
  state.effects.push({ kind: "rolledOut", root: application.root, outcome: "refused" });
}
