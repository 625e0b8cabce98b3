/**
 * How a full pool is shared (PROTOCOL section 6, for servers that are asked to): an application
 * whose get has waited for a place for a while, and that has fewer places than its share, gets one
 * of the application that has most for its weight. So nobody is kept out by those who flood the
 * pool, hang in their starts, or wait for themselves.
 *
 * - Whoever has nothing is owed a place by whoever has one; else the other must have no less for
 *   its weight afterwards, so that a place does not go back and forth.
 * - What is taken has been there for a while itself: who got a place has the time to use it. First
 *   a spawn that has not begun, then an idle instance, a spawn under way, which goes on without a
 *   place, and at last a busy instance, which leaves after its sessions.
 * - Outside the pool there are never more than max of the instances that still serve, nor of the
 *   spawns that go on.
 * - It is looked at ten times a second at most, however many wait.
 */

import type { Application, Instance, Spawn } from "./application.ts";
import type { State } from "./state.ts";

/** The shortest time between two looks; little beside what a start takes. */
const LOOK_MS = 100;

/** Gives due places over. @returns whose they were and whose they are. */
export function takeShares<O>(state: State<O>, now: number): Set<Application<O>> {
  const { shareAfterMs } = state.options;
  const touched = new Set<Application<O>>();
  if (shareAfterMs === undefined || nextLookMs(state) > now) return touched;
  state.lookedForSharesMs = now;
  for (const application of hungryInOrder(state)) {
    const waiter = application.line.firstUncovered;
    if (waiter === undefined || waiter.arrivedMs + shareAfterMs > now) continue;
    if (state.places !== state.limits.max || !takeFrom(state, application, touched, now)) continue;
    state.plan(application, waiter.options, now);
    touched.add(application);
  }
  return touched;
}

/** When somebody has waited for long enough to be looked at; Infinity: nobody does. */
export function nextLookMs<O>({ options, bare, seeded, lookedForSharesMs }: State<O>): number {
  const { shareAfterMs } = options;
  if (shareAfterMs === undefined) return Infinity;
  const arrivedMs = Math.min(
    bare.first?.owner.line.firstUncovered?.arrivedMs ?? Infinity,
    seeded.first?.owner.line.firstUncovered?.arrivedMs ?? Infinity,
  );
  return Math.max(arrivedMs + shareAfterMs, lookedForSharesMs + LOOK_MS);
}

/** Applications with a get that waits for a place, the longest first. */
export function hungryInOrder<O>({ bare, seeded }: State<O>): Application<O>[] {
  return [...bare, ...seeded].toSorted((a, b) => a.key - b.key).map(({ owner }) => owner);
}

/** Frees a place that is another's. @returns whether there was one. */
function takeFrom<O>(
  state: State<O>,
  application: Application<O>,
  touched: Set<Application<O>>,
  now: number,
): boolean {
  const mine = (application.placed + 1) / application.weight;
  const owes = (other: Application<O>) =>
    other !== application &&
    other.placed > 0 &&
    (application.placed === 0 || (other.placed - 1) / other.weight >= mine);
  const others = [...state.applications.values()]
    .filter(owes)
    .toSorted((a, b) => b.placed / b.weight - a.placed / a.weight);
  for (const other of others) {
    if (!freePlaceOf(state, other, now)) continue;
    touched.add(other);
    return true;
  }
  return false;
}

function freePlaceOf<O>(state: State<O>, other: Application<O>, now: number): boolean {
  const sinceMs = now - (state.options.shareAfterMs ?? 0);
  const planned = other.planned.last;
  if (planned !== undefined && planned.sinceMs <= sinceMs) {
    state.drop(planned);
    return true;
  }
  const instance = leastUseful(other, sinceMs);
  if (instance !== undefined && instance.sessions === 0) {
    state.leave(instance, "leaving", "evicted", now);
    return true;
  }
  const spawn = state.unplaced < state.limits.max ? oldestPlaced(other, sinceMs) : undefined;
  if (spawn !== undefined) {
    state.unplace(spawn);
    return true;
  }
  if (instance === undefined || state.leaving >= state.limits.max) return false;
  state.leave(instance, "leaving", "evicted", now);
  return true;
}

/** Of an application's instances that have had their time, the one with the fewest sessions. */
function leastUseful<O>(
  { available, full }: Application<O>,
  sinceMs: number,
): Instance<O> | undefined {
  const hadItsTime = ({ readyMs }: Instance<O>) => readyMs <= sinceMs;
  return available.find(hadItsTime) ?? full.find(hadItsTime);
}

function oldestPlaced<O>(
  { outdated, begun }: Application<O>,
  sinceMs: number,
): Spawn<O> | undefined {
  for (const spawn of [...outdated, ...begun]) {
    if (spawn.isPlaced && spawn.sinceMs <= sinceMs) return spawn;
  }
  return undefined;
}
