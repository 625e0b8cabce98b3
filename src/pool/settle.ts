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
 * - Spawns that nobody waits for any more are given up unless they have begun. A slot to begin goes
 *   to the application that has the fewest, and among those to the spawn planned first; but no
 *   application takes one unless it has fewer than are free, so that others find some however long
 *   its spawns take. What takes long enough to be hanging has none.
 *
 * Every event ends in `settle`, which costs a few comparisons when nobody waits and nothing is
 * planned. Otherwise it looks at the application the event was about and at whoever is first in
 * line for a place; nothing else can have come into a position to be served.
 */

import { type Application, type Instance, NO_SETTINGS } from "./application.ts";
import { CLOSING_LIMIT_MS } from "./closing.ts";
import { RECALL_LIMIT_MS } from "./kept.ts";
import type { State } from "./state.ts";

/** Settles after an event that was about one application. */
export function settle<O>(state: State<O>, application: Application<O>, now: number): void {
  if (!isQuiet(state, now)) settleAll(state, new Set([application]), now);
}

/** Settles after an event that was about any number of applications. */
export function settleAll<O>(state: State<O>, touched: Set<Application<O>>, now: number): void {
  soundAlarms(state, touched, now);
  doPendingRestarts(state, touched, now);
  for (const application of touched) serve(state, application, now);
  for (const application of touched) cover(state, application, now);
  allotPlaces(state, now);
  bindToBusy(state, touched, now);
  shedIdle(state, now);
  emptyKept(state, now);
  beginSpawns(state, now);
  const { counters, waiters } = state;
  if (waiters.size > counters.peakWaiting) counters.peakWaiting = waiters.size;
  for (const application of state.maybeEmpty) forgetIfEmpty(state, application, now);
  state.maybeEmpty.clear();
}

/** Whether an event that made nobody wait can have no further consequence. */
function isQuiet<O>(state: State<O>, now: number): boolean {
  return (
    state.waiters.size === 0 &&
    state.planned.size === 0 &&
    state.maybeEmpty.size === 0 &&
    state.pendingRestarts.size === 0 &&
    state.places <= state.limits.max &&
    (state.alarms.first === undefined || state.alarms.first.key > now)
  );
}

/** Whether instances of an application may leave now, or too many of others are still finishing. */
export function restartFits<O>(state: State<O>, application: Application<O>): boolean {
  const leaving = application.busy + application.begun.size;
  return leaving === 0 || state.leaving + state.outdatedSpawns + leaving <= state.limits.max;
}

export function restart<O>(state: State<O>, application: Application<O>, now: number): void {
  state.pendingRestarts.delete(application);
  state.counters.restarts++;
  state.outdate(application, "restarted", now);
  state.reload(application.root);
}

/** Whether a get that finds no free instance is answered at once all the same. */
export function isAnsweredAtOnce<O>(
  state: State<O>,
  application: Application<O>,
  now: number,
): boolean {
  return isRefusedByPause(application, now) || bindsAtOnce(state, application, now);
}

/** Whether a get that finds no free instance goes to a busy one, with nothing to wait for first. */
function bindsAtOnce<O>(state: State<O>, application: Application<O>, now: number): boolean {
  if (application.line.size > 0 || !mayBindToBusy(state, application)) return false;
  return !hasPlace(state) || !maySpawn(state, application, now);
}

/**
 * The busy instance for a get that finds no free one, if it has to take one at once: what settling
 * would come to as well, without the way through the line. On a pool at its limit most gets are
 * such gets. The event before this one has left nothing undone that could come first.
 */
export function busyAtOnce<O>(
  state: State<O>,
  application: Application<O>,
  now: number,
): Instance<O> | undefined {
  return bindsAtOnce(state, application, now) ? application.full.first : undefined;
}

/** Whether gets were held back until now or before, so that they come first. */
export function isDue<O>({ waiters, holds, closingSoon }: State<O>, now: number): boolean {
  if (waiters.size === 0) return false;
  const closedMs = closingSoon.first?.closedMs ?? Infinity;
  return (holds.first?.key ?? Infinity) <= now || closedMs + CLOSING_LIMIT_MS <= now;
}

/** Lets the longest idle go until max is kept or none is left. */
export function shedIdle<O>(state: State<O>, now: number): void {
  while (state.places > state.limits.max) {
    const instance = state.idle.first;
    if (instance === undefined) return;
    state.leave(instance, "leaving", "excess", now);
  }
}

/**
 * Asks for the kept sessions of instances that have no others, unused longest first, as many
 * instances as have to be idle: to make room where nothing else can, and to keep max.
 */
function emptyKept<O>(state: State<O>, now: number): void {
  const { kept, bare, limits } = state;
  if (kept.reclaimable.size === 0) return;
  const wanted = bare.size + Math.max(0, state.places - limits.max);
  for (const keeping of kept.reclaimable) {
    if (kept.emptying.size >= wanted) return;
    kept.recallAll(keeping, now);
  }
}

/**
 * Gives an application's planned spawns up, the last first, that its own lowered limit no longer
 * allows.
 */
export function dropAboveOwnLimit<O>(state: State<O>, application: Application<O>): void {
  const limit = state.limitOf(application);
  for (let last = application.planned.last; last !== undefined; last = application.planned.last) {
    if (application.places <= limit) return;
    state.drop(last);
  }
}

/** Gives planned spawns up, the last first, that max no longer allows. */
export function dropAboveMax<O>(state: State<O>): void {
  for (let last = state.planned.last; last !== undefined; last = state.planned.last) {
    if (state.places <= state.limits.max) return;
    state.drop(last);
  }
}

function soundAlarms<O>(state: State<O>, touched: Set<Application<O>>, now: number): void {
  state.kept.expire(touched, now);
  state.expirePromises(touched, now);
  const { slots, options } = state;
  for (let spawn = slots.first; spawn !== undefined; spawn = slots.first) {
    if (spawn.sinceMs + options.slowSpawnMs > now) break;
    state.freeSlot(spawn);
  }
  for (let due = state.holds.first; due !== undefined && due.key <= now; due = state.holds.first) {
    state.holds.remove(due);
    touched.add(due.owner);
  }
  for (let due = state.alarms.first; due !== undefined; due = state.alarms.first) {
    if (due.key > now) return;
    state.alarms.remove(due);
    touched.add(due.owner);
    state.maybeEmpty.add(due.owner);
  }
}

/**
 * Does the restarts that fit by now, in the order in which they were asked for. There are some only
 * while as many instances as max are finishing sessions out of the pool, so looking at all of them
 * is rare.
 */
function doPendingRestarts<O>(state: State<O>, touched: Set<Application<O>>, now: number): void {
  for (const application of state.pendingRestarts) {
    if (!restartFits(state, application)) continue;
    restart(state, application, now);
    touched.add(application);
  }
}

/** Gives an application's free instances to its gets, and asks for kept sessions for the others. */
function serve<O>(state: State<O>, application: Application<O>, now: number): void {
  if (isOwedElsewhere(state, application)) allotPlaces(state, now);
  if (isRefusedByPause(application, now)) refuseLine(state, application);
  serveReady(state, application, now);
  if (application.unasked.size > 0) state.kept.recallForLine(application, now);
}

export function serveReady<O>(state: State<O>, application: Application<O>, now: number): void {
  for (;;) {
    const waiter = application.line.first;
    const instance = application.available.first;
    if (waiter === undefined || instance === undefined) return;
    state.dequeue(waiter);
    state.grant(waiter, instance, now);
  }
}

/**
 * Whether an idle instance must make room for an older get of another application before the gets
 * of its own may have it. Under the global queue a busy application would otherwise keep all others
 * out for ever.
 */
function isOwedElsewhere<O>(state: State<O>, application: Application<O>): boolean {
  const { line, available, spawning } = application;
  if (line.first === undefined || available.size === 0 || spawning > 0) return false;
  const older = state.bare.first;
  return older !== undefined && older.key < line.first.id && !hasPlace(state) && mayEvict(state);
}

function hasPlace<O>(state: State<O>): boolean {
  return state.places < state.limits.max;
}

function mayEvict<O>(state: State<O>): boolean {
  return state.busy + state.spawning < state.limits.max;
}

/**
 * Brings an application's planned spawns down to what its gets need, marks which of them are
 * covered, and lines it up for a place if one is not.
 */
function cover<O>(state: State<O>, application: Application<O>, now: number): void {
  const { line, failures, getsPerSpawn } = application;
  const byOutdated = coveredByOutdated(application);
  const needed = failures.isPaused(now) ? 0 : Math.ceil((line.size - byOutdated) / getsPerSpawn);
  for (let last = application.planned.last; last !== undefined; last = application.planned.last) {
    if (application.coming <= needed) break;
    state.drop(last);
  }
  const bySpawns = byOutdated + application.coming * getsPerSpawn;
  line.cover(bySpawns);
  holdBack(state, application, bySpawns, now);
  const waiter = line.firstUncovered;
  if (waiter !== undefined && maySpawn(state, application, now)) {
    const isBare = application.count === 0 && application.coming === 0;
    (isBare ? state.bare : state.seeded).set(application.hunger, waiter.id);
  } else {
    application.hunger.heap?.remove(application.hunger);
  }
}

/**
 * Marks gets that no spawn is for as covered by the places that recalls and reports will free, one
 * by each. It keeps them from spawning and sharing while they are new: for as long as a recall may
 * take, however many follow each other.
 */
function holdBack<O>(
  state: State<O>,
  application: Application<O>,
  bySpawns: number,
  now: number,
): void {
  const { line, awaited, hold } = application;
  if (awaited === 0 && hold.heap === undefined) return;
  const endsMs = (line.firstUncovered?.arrivedMs ?? -Infinity) + RECALL_LIMIT_MS;
  if (awaited === 0 || endsMs <= now) {
    state.holds.remove(hold);
    return;
  }
  line.cover(bySpawns + awaited);
  state.holds.set(hold, endsMs);
}

/**
 * Gets at the front of the line that spawns from before a restart are for; almost always 0 without
 * looking.
 */
function coveredByOutdated<O>(application: Application<O>): number {
  let covered = 0;
  for (const spawn of application.outdated) {
    const most = covered + application.getsPerSpawn;
    covered = application.line.countBefore(spawn.servesBefore, most);
  }
  return covered;
}

/** Whether its own limit and its failures allow an application one more place. */
function maySpawn<O>(state: State<O>, application: Application<O>, now: number): boolean {
  return application.places < state.limitOf(application) && !application.failures.isPaused(now);
}

/**
 * Gives free places, and those of idle instances, to the longest waiting gets that can use them.
 */
function allotPlaces<O>(state: State<O>, now: number): void {
  for (;;) {
    const application = nextForPlace(state);
    const waiter = application?.line.firstUncovered;
    if (application === undefined || waiter === undefined) return;
    while (!hasPlace(state)) {
      const instance = state.idle.first;
      if (instance === undefined) throw new Error("pool: an instance should be idle and none is");
      state.leave(instance, "leaving", "evicted", now);
    }
    state.plan(application, waiter.options, now);
    cover(state, application, now);
  }
}

function nextForPlace<O>(state: State<O>): Application<O> | undefined {
  const bare = state.bare.first;
  const seeded = state.seeded.first;
  if (!hasPlace(state)) return mayEvict(state) ? bare?.owner : undefined;
  if (bare === undefined || seeded === undefined) return (bare ?? seeded)?.owner;
  return bare.key < seeded.key ? bare.owner : seeded.owner;
}

function mayBindToBusy<O>(state: State<O>, application: Application<O>): boolean {
  return !state.limits.useGlobalQueue && application.full.size > 0 && application.spawning === 0;
}

/**
 * Sends gets to busy instances of their applications, but for those held back, the longest waiting
 * first. Called when all places to be had are given.
 */
function bindToBusy<O>(state: State<O>, touched: Set<Application<O>>, now: number): void {
  const mayBind = (application: Application<O>) =>
    application.line.firstUncovered !== undefined && mayBindToBusy(state, application);
  for (let ready = Array.from(touched).filter(mayBind); ready.length > 0;) {
    const application = ready.reduce((a, b) => (idOfFirst(b) < idOfFirst(a) ? b : a));
    const waiter = application.line.first;
    const instance = application.full.first;
    if (waiter === undefined || instance === undefined) return;
    state.dequeue(waiter);
    state.grant(waiter, instance, now);
    cover(state, application, now);
    if (!mayBind(application)) ready = ready.filter((other) => other !== application);
  }
}

function idOfFirst<O>({ line }: Application<O>): number {
  return line.first?.id ?? Infinity;
}

function beginSpawns<O>(state: State<O>, now: number): void {
  for (;;) {
    const application = state.turns.first?.owner;
    const spawn = application?.planned.first;
    if (application === undefined || spawn === undefined) return;
    if (application.slots >= state.options.spawnsAtOnce - state.slots.size) return;
    state.begin(spawn, now);
  }
}

/** Whether an application's gets have only its last error to expect for now. */
function isRefusedByPause<O>(application: Application<O>, now: number): boolean {
  return application.count === 0 && application.failures.isPaused(now);
}

function refuseLine<O>(state: State<O>, application: Application<O>): void {
  const failure = application.failures.last ?? { message: "its last spawns failed" };
  for (let waiter = application.line.first; waiter !== undefined; waiter = application.line.first) {
    state.dequeue(waiter);
    state.counters.refusals.spawnFailed++;
    state.refuse(waiter, { kind: "spawnFailed", failure });
  }
}

/**
 * Forgets an application that has nothing left, or arranges for that when its failures may be
 * forgotten.
 */
function forgetIfEmpty<O>(state: State<O>, application: Application<O>, now: number): void {
  const { count, outside, spawning, line, settings, failures } = application;
  if (count + outside.size + spawning + line.size > 0 || settings !== NO_SETTINGS) return;
  const endsMs = failures.count === 0 ? now : failures.memoryEndsMs(state.options.failurePause);
  if (endsMs > now) {
    state.alarms.set(application.alarm, endsMs);
  } else {
    state.alarms.remove(application.alarm);
    state.applications.delete(application.root);
  }
}
