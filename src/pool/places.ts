/**
 * Who is given a place for a new instance: which gets need one, and who is next when one is free or
 * can be freed. The rules are those of settle.ts, which says when.
 */

import type { AppRequest } from "../wire/app-request.ts";
import type { ApplicationRecord, Spawn } from "./application.ts";
import { RECALL_LIMIT_MS } from "./kept.ts";
import { hungryInOrder } from "./shares.ts";
import type { PoolState } from "./state.ts";
import { mayEvict } from "./usefulness.ts";

export function hasPlace(state: PoolState): boolean {
  return state.places < state.limits.max;
}

/** Spawns that an application is to have for nobody's sake, beside its instances. */
export function wantedAhead(state: PoolState, application: ApplicationRecord): number {
  const { minInstances, options, count } = application;
  if (minInstances === 0 || options === undefined) return 0;
  return Math.max(0, Math.min(minInstances, state.limitOf(application)) - count);
}

/**
 * Brings an application's planned spawns down to what its gets need, marks which of them are
 * covered, and lines it up for a place if one is not.
 */
export function cover(state: PoolState, application: ApplicationRecord): void {
  const { line, failures, getsPerSpawn } = application;
  const byOutdated = coveredByOutdated(application);
  const forGets = Math.ceil((line.size - byOutdated) / getsPerSpawn);
  const ahead = Math.max(missing(state, application), wantedAhead(state, application));
  const mayStart = application.isOpen && !failures.isPaused(state.now);
  const needed = mayStart ? Math.max(forGets, ahead) : 0;
  for (let last = application.planned.last; last !== undefined; last = application.planned.last) {
    if (application.coming <= needed) break;
    state.drop(last);
  }
  const bySpawns = byOutdated + application.coming * getsPerSpawn;
  line.cover(bySpawns);
  holdBack(state, application, bySpawns);
  const waiter = line.firstUncovered;
  if (waiter !== undefined && maySpawn(state, application)) {
    const isBare = application.count === 0 && application.coming === 0;
    (isBare ? state.bare : state.seeded).set(application.hunger, waiter.id);
  } else {
    application.hunger.heap?.remove(application.hunger);
  }
}

/** Instances that are neither there nor will be, of those that share an application's gets. */
function missing(state: PoolState, application: ApplicationRecord): number {
  const { instances, count, outdated } = application;
  return instances < 2 ? 0 : state.limitOf(application) - count - outdated.size;
}

/** Takes free places for all that share an application's gets: at first, and if one is gone. */
export function planMissing(
  state: PoolState,
  application: ApplicationRecord,
  options: AppRequest,
): void {
  const { instances, isOpen, failures } = application;
  if (instances < 2 || !isOpen || failures.isPaused(state.now)) return;
  while (missing(state, application) > application.coming && hasPlace(state)) {
    state.plan(application, options);
  }
}

/**
 * Marks gets that no spawn is for as covered by the places that recalls and reports will free, one
 * by each. It keeps them from spawning and sharing while they are new: for as long as a recall may
 * take, however many follow each other.
 */
function holdBack(state: PoolState, application: ApplicationRecord, bySpawns: number): void {
  const { line, awaited, hold } = application;
  if (awaited === 0 && hold.heap === undefined) return;
  const endsMs = (line.firstUncovered?.arrivedMs ?? -Infinity) + RECALL_LIMIT_MS;
  if (awaited === 0 || endsMs <= state.now) {
    state.holds.remove(hold);
    return;
  }
  line.cover(bySpawns + awaited);
  state.holds.set(hold, endsMs);
}

/** Gets at the front of the line that spawns from before a restart are for; almost always 0. */
function coveredByOutdated(application: ApplicationRecord): number {
  let covered = 0;
  for (const spawn of application.outdated) {
    const most = covered + application.getsPerSpawn;
    covered = application.line.countBefore(spawn.servesBefore, most);
  }
  return covered;
}

/** Gives planned spawns of an application up, the last first, that its own limit does not allow. */
export function dropAboveOwnLimit(state: PoolState, application: ApplicationRecord): void {
  const limit = state.limitOf(application);
  for (let last = application.planned.last; last !== undefined; last = application.planned.last) {
    if (application.places <= limit) return;
    state.drop(last);
  }
}

/** Whether its own limit and its failures allow an application one more place. */
export function maySpawn(state: PoolState, application: ApplicationRecord): boolean {
  const { places, isOpen, failures } = application;
  return places < state.limitOf(application) && isOpen && !failures.isPaused(state.now);
}

/** Gives free places, and those of idle instances, to the longest waiting who can use them. */
export function allotPlaces(state: PoolState): void {
  for (;;) {
    const application = nextForPlace(state);
    const waiter = application?.line.firstUncovered;
    if (application === undefined || waiter === undefined) return;
    const slow =
      hasPlace(state) || isOwedIdle(state, application) ? undefined : slowFor(state, application);
    if (slow !== undefined) state.unplace(slow);
    while (!hasPlace(state)) {
      const instance = state.idle.first;
      if (instance === undefined) throw new Error("pool: an instance should be idle and none is");
      state.leave(instance, "leaving", "evicted");
    }
    state.plan(application, waiter.options);
    cover(state, application);
  }
}

function nextForPlace(state: PoolState): ApplicationRecord | undefined {
  const bare = state.bare.first;
  const seeded = state.seeded.first;
  if (!hasPlace(state)) {
    if (state.slow.size === 0) return mayEvict(state) ? bare?.owner : undefined;
    const canHave = (application: ApplicationRecord) =>
      isOwedIdle(state, application) || slowFor(state, application) !== undefined;
    return hungryInOrder(state).find(canHave);
  }
  if (bare === undefined || seeded === undefined) return (bare ?? seeded)?.owner;
  return bare.key < seeded.key ? bare.owner : seeded.owner;
}

/** Whether an application may have an idle instance let go for its get. */
function isOwedIdle(state: PoolState, { hunger }: ApplicationRecord): boolean {
  return hunger.heap === state.bare && mayEvict(state);
}

/** The oldest spawn that may hang, of another application, if its place makes room. */
export function slowFor(state: PoolState, application: ApplicationRecord): Spawn | undefined {
  if (state.places > state.limits.max || state.unplaced >= state.limits.max) return undefined;
  for (const spawn of state.slow) if (spawn.application !== application) return spawn;
  return undefined;
}
