/**
 * How many instances an application has though nobody asks: as many as it is to have at least are
 * begun where there are places, and what is idle for too long goes, down to that number. For its
 * gets, which come first, they are spawns like any others.
 */

import type { ApplicationRecord, InstanceRecord } from "./application.ts";
import { cover, dropAboveOwnLimit, hasPlace, maySpawn, wantedAhead } from "./places.ts";
import type { PoolState } from "./state.ts";

/** Plans what is missing, as far as there are places that nobody waits for. */
export function planAhead(state: PoolState): void {
  for (const application of state.short) {
    if (!hasPlace(state)) return;
    planFor(state, application);
    if (application.coming >= wantedAhead(state, application)) state.short.delete(application);
  }
}

/** Sets when it is looked whether an application's longest idle instance was so for too long. */
export function reapLater(state: PoolState, application: ApplicationRecord): void {
  const { first } = application.idle;
  const limitMs = state.maxIdleOf(application);
  if (first === undefined || limitMs === Infinity) return;
  state.reaps.set(application.reap, unusedSince(first) + limitMs);
}

/** Those that share an application's gets stay as long as there are some for any of them. */
export function unusedSince({ application, lastUsedMs }: InstanceRecord): number {
  const { instances, askedMs } = application;
  return instances > 1 ? Math.max(lastUsedMs, askedMs) : lastUsedMs;
}

function planFor(state: PoolState, application: ApplicationRecord): void {
  const { options } = application;
  if (options === undefined) return;
  while (hasPlace(state) && application.coming < wantedAhead(state, application)) {
    if (!maySpawn(state, application)) return;
    state.plan(application, options);
    cover(state, application);
  }
}

/** What depends on settings and limits has changed, for an application and its instances. */
export function reconsider(state: PoolState, application: ApplicationRecord): void {
  const { available, full } = application;
  dropAboveOwnLimit(state, application);
  for (const instance of available) state.limitAge(instance);
  for (const instance of full) state.limitAge(instance);
  state.fallShort(application);
  state.reaps.remove(application.reap);
  reapLater(state, application);
}

/** Lets those go that were idle for too long; adds their applications to `touched`. */
export function reap(state: PoolState, touched: Set<ApplicationRecord>): void {
  const { reaps, now } = state;
  for (let due = reaps.first; due !== undefined && due.key <= now; due = reaps.first) {
    const application = due.owner;
    const limitMs = state.maxIdleOf(application);
    reaps.remove(due);
    for (const idle of application.idle) {
      // Below its least number it is looked at again when one joins or was used.
      if (application.count <= application.minInstances) break;
      if (unusedSince(idle) + limitMs > now) {
        reapLater(state, application);
        break;
      }
      state.leave(idle, "leaving", "idle");
      touched.add(application);
    }
  }
}
