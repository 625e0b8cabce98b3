/**
 * How a full pool is shared (PROTOCOL section 6, for servers that are asked to): nobody is kept out
 * by those who flood the pool, hang, or wait for themselves, and who makes use of his place keeps
 * it as long as others make less of theirs.
 *
 * - An application without a place has at once that of an instance that is of no use (usefulness.ts
 *   says which); one that is idle, but was used a moment ago, is of use.
 * - Where there is none, and for an application that has fewer places than its share, a get that
 *   has waited for a while gets a place of the application that has most for its weight; among
 *   equals, of the one that has not used it for the longest time. Whoever has nothing is owed a
 *   place by whoever has one; else the other must have no less for its weight afterwards, so that a
 *   place does not go back and forth.
 * - What is taken so has been there for a while itself: who got a place has the time to use it.
 *   First a spawn that has not begun, then an idle instance, a spawn under way, which goes on
 *   without a place, and at last a busy instance, which leaves after its sessions. The only place
 *   of an application, if it is in use, is taken last of all, and half as long again later.
 * - What finishes an abandoned request outside the pool is a part of its application's share.
 * - Outside the pool there are never more than max of the instances that still serve, nor of the
 *   spawns that go on. Who has nothing but abandoned requests left makes room for another there.
 * - It is looked at ten times a second at most, however many wait.
 */

import type { ApplicationRecord, InstanceRecord, Spawn } from "./application.ts";
import type { PoolState } from "./state.ts";
import { evict, isInUse, leastUsed, LOOK_MS, mayLeave } from "./usefulness.ts";

/** How much longer a get waits for the only place of an application, if it is in use. */
const IN_USE_FACTOR = 1.5;

/** Gives due places over. @returns whose they were and whose they are. */
export function takeShares(state: PoolState): Set<ApplicationRecord> {
  const { now } = state;
  const { shareAfterMs } = state.options;
  const touched = new Set<ApplicationRecord>();
  if (shareAfterMs === undefined || nextLookMs(state) > now) return touched;
  state.lookedForSharesMs = now;
  for (const application of hungryInOrder(state)) {
    const waiter = application.line.firstUncovered;
    if (waiter === undefined || state.places !== state.limits.max) continue;
    const waitedMs = now - waiter.arrivedMs;
    const giver =
      (application.hunger.heap === state.bare ? takeUseless(state) : undefined) ??
      (waitedMs >= shareAfterMs ? takeFrom(state, application, waitedMs) : undefined);
    if (giver === undefined) continue;
    state.plan(application, waiter.options);
    touched.add(giver);
    touched.add(application);
  }
  return touched;
}

/** When it is to be looked whether somebody who waits is due a place; Infinity: nobody waits. */
export function nextLookMs({ options, bare, seeded, lookedForSharesMs }: PoolState): number {
  const { shareAfterMs } = options;
  if (shareAfterMs === undefined || bare.size + seeded.size === 0) return Infinity;
  const againMs = lookedForSharesMs + LOOK_MS;
  if (bare.size > 0) return againMs;
  const arrivedMs = seeded.first?.owner.line.firstUncovered?.arrivedMs ?? Infinity;
  return Math.max(arrivedMs + shareAfterMs, againMs);
}

/** Applications with a get that waits for a place, the longest first. */
export function hungryInOrder({ bare, seeded }: PoolState): ApplicationRecord[] {
  return [...bare, ...seeded].toSorted((a, b) => a.key - b.key).map(({ owner }) => owner);
}

/** Lets the instance go that is of least use, if one is of none. @returns whose it was. */
function takeUseless(state: PoolState): ApplicationRecord | undefined {
  const instance = leastUsed(state);
  if (instance === undefined) return undefined;
  evict(state, instance);
  return instance.application;
}

/** What an application can give its place up of. */
interface Offer {
  readonly from: ApplicationRecord;
  readonly usedMs: number;
  readonly give: () => void;
}

/** Frees a place that is another's. @returns whose it was, if there is one. */
function takeFrom(
  state: PoolState,
  application: ApplicationRecord,
  waitedMs: number,
): ApplicationRecord | undefined {
  const { shareAfterMs = Infinity } = state.options;
  const owned = application.placed + application.finishing;
  const mine = (owned + 1) / application.weight;
  let best: Offer | undefined;
  for (const other of state.applications.values()) {
    if (other === application || other.placed === 0) continue;
    if (owned > 0 && (other.placed - 1) / other.weight < mine) continue;
    const offer = offerOf(state, other);
    if (offer === undefined) continue;
    const isOnly = other.placed === 1 && offer.usedMs > state.now - LOOK_MS;
    if (isOnly && waitedMs < shareAfterMs * IN_USE_FACTOR) continue;
    if (best === undefined || comesBefore(offer, best)) best = offer;
  }
  best?.give();
  return best?.from;
}

/** Whoever has most for its weight; among equals, who has used his place longest ago. */
function comesBefore({ from, usedMs }: Offer, other: Offer): boolean {
  const more = from.placed / from.weight - other.from.placed / other.from.weight;
  return more > 0 || (more === 0 && usedMs < other.usedMs);
}

function offerOf(state: PoolState, from: ApplicationRecord): Offer | undefined {
  const { now } = state;
  const sinceMs = now - (state.options.shareAfterMs ?? 0);
  const { max } = state.limits;
  const planned = from.planned.last;
  if (planned !== undefined && planned.sinceMs <= sinceMs) {
    return { from, usedMs: planned.sinceMs, give: () => state.drop(planned) };
  }
  const instance = leastUseful(from, sinceMs);
  const spawn = state.unplaced < max ? oldestPlaced(from, sinceMs) : undefined;
  if (spawn !== undefined && instance?.sessions !== 0) {
    return { from, usedMs: spawn.sinceMs, give: () => state.unplace(spawn) };
  }
  if (instance === undefined || (instance.sessions > 0 && !mayLeave(state))) return undefined;
  const usedMs = isInUse(state, instance) ? now : instance.lastUsedMs;
  return { from, usedMs, give: () => evict(state, instance) };
}

/** Of an application's instances that have had their time, the one with the fewest sessions. */
function leastUseful(
  { available, full }: ApplicationRecord,
  sinceMs: number,
): InstanceRecord | undefined {
  const hadItsTime = ({ readyMs }: InstanceRecord) => readyMs <= sinceMs;
  return available.find(hadItsTime) ?? full.find(hadItsTime);
}

function oldestPlaced({ outdated, begun }: ApplicationRecord, sinceMs: number): Spawn | undefined {
  for (const spawn of [...outdated, ...begun]) {
    if (spawn.isPlaced && spawn.sinceMs <= sinceMs) return spawn;
  }
  return undefined;
}
