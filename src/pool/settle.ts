/**
 * The decisions: after every event, who gets which instance, who a new one is spawned for, and who
 * has to go. Rules, with "place" for an instance or a spawn, planned or begun:
 *
 * - An instance that becomes ready or free serves the first get of its application. Only if that
 *   get is younger than one that waits for a place elsewhere, and nothing of its application is
 *   being spawned, the instance goes instead.
 * - A get for which there is no instance is covered by a spawn or waits for a place. A free place
 *   goes to the get that has waited longest of all that can use it. An application with no instance
 *   here or to come may have an idle instance of another let go for it, once: as if spawns took no
 *   time, the next get of it finds an instance.
 * - A get binds to a busy instance only without the global queue, with no place to be had, and with
 *   nothing of its application being spawned.
 * - Kept sessions that stand in a get's way are asked for first (kept.ts): one of its application
 *   for each get that waits, longest open first, which puts spawning and sharing off for 20 ms at
 *   most from the get's arrival; and all of an instance that has no others for each application
 *   that could have an idle instance's place if there were one. Likewise gets are put off for
 *   instances that are about to say that they are done with a session (closing.ts).
 * - Where no place is free, a get may have that of another application's spawn that takes so long
 *   that it may hang; such a spawn joins the pool if there is room when it is ready. Some servers
 *   share a full pool, too (shares.ts).
 * - Spawns that nobody waits for any more are given up unless they have begun. A slot to begin goes
 *   to the application that has the fewest, and among those to the spawn planned first; but no
 *   application takes one unless it has fewer than are free, so that others find some however long
 *   its spawns take. What takes long enough to be hanging has none.
 *
 * Every event ends in `settle`, which costs a few comparisons when nobody waits and nothing is
 * planned. Otherwise it looks at the application the event was about and at whoever is first in
 * line for a place; nothing else can have come into a position to be served.
 */

import { type ApplicationRecord, type InstanceRecord, NO_SETTINGS } from "./application.ts";
import { planAhead } from "./ahead.ts";
import { CLOSING_LIMIT_MS, expirePromises } from "./closing.ts";
import { allotPlaces, cover, hasPlace, maySpawn, slowFor } from "./places.ts";
import { replaceWorn } from "./worn.ts";
import { nextLookMs, takeShares } from "./shares.ts";
import type { PoolState } from "./state.ts";
import type { SpawnFailure } from "./types.ts";
import { LOOK_MS, mayEvict } from "./usefulness.ts";

/** Settles after an event that was about one application. */
export function settle(state: PoolState, application: ApplicationRecord): void {
  if (!isQuiet(state)) settleAll(state, new Set([application]));
}

/** Settles after an event that was about any number of applications. */
export function settleAll(state: PoolState, touched: Set<ApplicationRecord>): void {
  soundAlarms(state, touched);
  doPendingRestarts(state, touched);
  for (const application of touched) serve(state, application);
  for (const application of touched) cover(state, application);
  allotPlaces(state);
  const shared = takeShares(state);
  if (shared.size > 0) doPendingRestarts(state, shared);
  for (const application of shared) serve(state, application);
  for (const application of shared) cover(state, application);
  if (shared.size > 0) allotPlaces(state);
  for (const application of shared) touched.add(application);
  bindToBusy(state, touched);
  planAhead(state);
  shedIdle(state);
  if (state.slow.size > 0) allotPlaces(state);
  emptyKept(state);
  beginSpawns(state);
  replaceWorn(state);
  const { counters, waiters } = state;
  if (waiters.size > counters.peakWaiting) counters.peakWaiting = waiters.size;
  for (const application of state.maybeEmpty) forgetIfEmpty(state, application);
  state.maybeEmpty.length = 0;
}

/** Whether an event that made nobody wait can have no further consequence. */
function isQuiet(state: PoolState): boolean {
  return (
    state.waiters.size === 0 &&
    state.planned.size === 0 &&
    state.maybeEmpty.length === 0 &&
    state.pendingRestarts.size === 0 &&
    state.wearing.size === 0 &&
    state.short.size === 0 &&
    state.places <= state.limits.max &&
    (state.alarms.first === undefined || state.alarms.first.key > state.now)
  );
}

/** Whether instances of an application may leave now, or too many of others are still finishing. */
export function restartFits(state: PoolState, application: ApplicationRecord): boolean {
  const leaving = application.busy + application.begun.size;
  return (
    leaving === 0 ||
    state.leaving - state.finishing + state.outdatedSpawns + leaving <= state.limits.max
  );
}

export function restart(state: PoolState, application: ApplicationRecord): void {
  state.pendingRestarts.delete(application);
  state.tally("restarts", application);
  state.outdate(application, "restarted");
  // All that served on for want of a version that starts goes with it.
  application.rollout = undefined;
  state.effects.push({ kind: "reload", root: application.root });
}

/** Whether a get that finds no free instance is answered at once all the same. */
export function isAnsweredAtOnce(state: PoolState, application: ApplicationRecord): boolean {
  return isRefusedByPause(state, application) || bindsAtOnce(state, application);
}

/** Whether a get that finds no free instance goes to a busy one, with nothing to wait for first. */
function bindsAtOnce(state: PoolState, application: ApplicationRecord): boolean {
  if (application.line.size > 0 || !mayBindToBusy(state, application)) return false;
  if (!maySpawn(state, application)) return true;
  return !hasPlace(state) && slowFor(state, application) === undefined;
}

/**
 * The busy instance for a get that finds no free one, if it has to take one at once: what settling
 * would come to as well, without the way through the line. On a pool at its limit most gets are
 * such gets. The event before this one has left nothing undone that could come first.
 */
export function busyAtOnce(
  state: PoolState,
  application: ApplicationRecord,
): InstanceRecord | undefined {
  return bindsAtOnce(state, application) ? application.full.first : undefined;
}

/** Whether something may be due for gets that wait, so that they come first. */
export function isDue(state: PoolState): boolean {
  const { now, waiters, holds, closingSoon, slow, bare, seeded } = state;
  if (waiters.size === 0) return false;
  const closedMs = closingSoon.first?.closedMs ?? Infinity;
  if ((holds.first?.key ?? Infinity) <= now || closedMs + CLOSING_LIMIT_MS <= now) return true;
  return (slow.size > 0 && bare.size + seeded.size > 0) || nextLookMs(state) <= now;
}

/** Lets the longest idle go until max is kept or none is left. */
export function shedIdle(state: PoolState): void {
  while (state.places > state.limits.max) {
    const instance = state.idle.first;
    if (instance === undefined) return;
    state.leave(instance, "leaving", "excess");
  }
}

/**
 * Asks for the kept sessions of instances that have no others, unused longest first, as many
 * instances as have to be idle: to make room where nothing else can, and to keep max. Where the
 * pool is shared, what was used a moment ago is not asked for others' sake.
 */
function emptyKept(state: PoolState): void {
  const { now, kept, bare, limits, options } = state;
  if (kept.reclaimable.size === 0) return;
  const excess = Math.max(0, state.places - limits.max);
  const usedMs = options.shareAfterMs === undefined ? now : now - LOOK_MS;
  for (const keeping of kept.reclaimable) {
    const wanted = keeping.instance.lastUsedMs <= usedMs ? bare.size + excess : excess;
    if (kept.emptying.size >= wanted) return;
    kept.recallAll(keeping);
  }
}

/** Gives planned spawns up, the last first, that max no longer allows. */
export function dropAboveMax(state: PoolState): void {
  for (let last = state.planned.last; last !== undefined; last = state.planned.last) {
    if (state.places <= state.limits.max) return;
    state.drop(last);
  }
}

function soundAlarms(state: PoolState, touched: Set<ApplicationRecord>): void {
  const { now } = state;
  state.kept.expire(touched);
  expirePromises(state, touched);
  slowDownLate(state);
  for (let due = state.holds.first; due !== undefined && due.key <= now; due = state.holds.first) {
    state.holds.remove(due);
    touched.add(due.owner);
  }
  for (let due = state.alarms.first; due !== undefined; due = state.alarms.first) {
    if (due.key > now) return;
    state.alarms.remove(due);
    touched.add(due.owner);
    state.maybeEmpty.push(due.owner);
  }
}

/** When something is due next although nothing happens; undefined: not before another event. */
export function nextDeadline(state: PoolState): number | undefined {
  const { reaps, ages, wearing, options, planned, slots } = state;
  const { deadlines, alarms, holds, kept, closingSoon, waiters } = state;
  const { overdue, timeLimits, bare, seeded } = state;
  const reapMs = Math.min(reaps.first?.key ?? Infinity, ages.first?.key ?? Infinity);
  const waitMs = deadlines.first?.key ?? Infinity;
  const alarmMs = alarms.first?.key ?? Infinity;
  const recallMs = Math.min(kept.due.first?.dueMs ?? Infinity, holds.first?.key ?? Infinity);
  const isSlotWanted = planned.size + bare.size + seeded.size + wearing.size > 0;
  const slowMs = isSlotWanted ? (slots.first?.sinceMs ?? Infinity) + options.slowSpawnMs : Infinity;
  const slotMs = Math.min(slowMs, beginsAnywayMs(state), nextLookMs(state));
  const closedMs = waiters.size === 0 ? undefined : closingSoon.first?.closedMs;
  const doneMs = (closedMs ?? Infinity) + CLOSING_LIMIT_MS;
  const limitMs = Math.min(overdue.first?.key ?? Infinity, timeLimits.first?.key ?? Infinity);
  const next = Math.min(reapMs, waitMs, alarmMs, recallMs, slotMs, doneMs, limitMs);
  return next === Infinity ? undefined : next;
}

/** Spawns that have taken long give their slots up. */
export function slowDownLate(state: PoolState): void {
  const { now, slots, options } = state;
  for (let spawn = slots.first; spawn !== undefined; spawn = slots.first) {
    if (spawn.sinceMs + options.slowSpawnMs > now) return;
    state.slowDown(spawn);
  }
}

/**
 * Does the restarts that fit by now, in the order in which they were asked for. There are some only
 * while as many instances as max are finishing sessions out of the pool, so looking at all of them
 * is rare.
 */
function doPendingRestarts(state: PoolState, touched: Set<ApplicationRecord>): void {
  for (const application of state.pendingRestarts) {
    if (!restartFits(state, application)) continue;
    restart(state, application);
    touched.add(application);
  }
}

/** Gives an application's free instances to its gets, and asks for kept sessions for the others. */
function serve(state: PoolState, application: ApplicationRecord): void {
  if (isOwedElsewhere(state, application)) allotPlaces(state);
  if (isRefusedByPause(state, application)) {
    const { last = { message: "its last spawns failed" } } = application.failures;
    refuseLine(state, application, last);
  }
  serveReady(state, application);
  if (application.unasked.size > 0) state.kept.recallForLine(application);
}

export function serveReady(state: PoolState, application: ApplicationRecord): void {
  for (;;) {
    const waiter = application.line.first;
    const instance = application.available.first;
    if (waiter === undefined || instance === undefined) return;
    state.dequeue(waiter);
    state.grant(waiter, instance);
  }
}

/**
 * Whether an idle instance must make room for an older get of another application before the gets
 * of its own may have it. Under the global queue a busy application would otherwise keep all others
 * out for ever.
 */
function isOwedElsewhere(state: PoolState, application: ApplicationRecord): boolean {
  const { line, available, spawning } = application;
  if (line.first === undefined || available.size === 0 || spawning > 0) return false;
  const older = state.bare.first;
  if (older === undefined || older.key >= line.first.id) return false;
  return !hasPlace(state) && mayEvict(state);
}

function mayBindToBusy(state: PoolState, application: ApplicationRecord): boolean {
  return !state.limits.useGlobalQueue && application.full.size > 0 && application.spawning === 0;
}

/**
 * Sends gets to busy instances of their applications, but for those held back, the longest waiting
 * first. Called when all places to be had are given.
 */
function bindToBusy(state: PoolState, touched: Set<ApplicationRecord>): void {
  const mayBind = (application: ApplicationRecord) =>
    application.line.firstUncovered !== undefined && mayBindToBusy(state, application);
  for (let ready = Array.from(touched).filter(mayBind); ready.length > 0;) {
    const application = ready.reduce((a, b) => (idOfFirst(b) < idOfFirst(a) ? b : a));
    const waiter = application.line.first;
    const instance = application.full.first;
    if (waiter === undefined || instance === undefined) return;
    state.dequeue(waiter);
    state.grant(waiter, instance);
    cover(state, application);
    if (!mayBind(application)) ready = ready.filter((other) => other !== application);
  }
}

function idOfFirst({ line }: ApplicationRecord): number {
  return line.first?.id ?? Infinity;
}

function beginSpawns(state: PoolState): void {
  for (;;) {
    const application = state.turns.first?.owner;
    const spawn = application?.planned.first;
    if (application === undefined || spawn === undefined) return;
    const hasSlot = state.hasSlotFor(application);
    if (!hasSlot && beginsAnywayMs(state) > state.now) return;
    state.begin(spawn, hasSlot);
  }
}

/**
 * When the first planned spawn of an application without a slot has waited so long for one that it
 * begins without: others hang. Infinity: none ever does.
 */
export function beginsAnywayMs({ turns, options }: PoolState): number {
  const first = turns.first?.owner;
  if (first === undefined || first.slots > 0) return Infinity;
  return (first.planned.first?.sinceMs ?? Infinity) + (options.shareAfterMs ?? Infinity);
}

/** Whether an application's gets have only its last error to expect for now. */
function isRefusedByPause({ now }: PoolState, application: ApplicationRecord): boolean {
  return application.count === 0 && application.failures.isPaused(now);
}

/** Refuses an application's gets from before `before`. */
export function refuseLine(
  state: PoolState,
  { line }: ApplicationRecord,
  failure: SpawnFailure,
  before = Infinity,
): void {
  for (let waiter = line.first; waiter !== undefined; waiter = line.first) {
    if (waiter.id >= before) return;
    state.dequeue(waiter);
    state.refuse(waiter, "spawnFailed", { kind: "spawnFailed", failure });
  }
}

/** Forgets an application that has nothing left, at once or when its failures may be forgotten. */
function forgetIfEmpty(state: PoolState, application: ApplicationRecord): void {
  const { count, outside, spawning, replacing, line, settings, failures } = application;
  const { now } = state;
  const left = count + outside.size + spawning + replacing + line.size;
  if (left > 0 || settings !== NO_SETTINGS) return;
  const endsMs = failures.count === 0 ? now : failures.memoryEndsMs(state.options.failurePause);
  if (endsMs > now) {
    state.alarms.set(application.alarm, endsMs);
  } else {
    state.alarms.remove(application.alarm);
    state.reaps.remove(application.reap);
    state.applications.delete(application.root);
  }
}
