/**
 * How instances that are to go are replaced without a gap: a new one is ready before an old one
 * leaves the pool, one after the other for each application. An instance is worn if its
 * application's code has changed (a rolling restart), or if it has served enough, is old, or large.
 *
 * - A replacement holds no place: it takes that of the instance which leaves for it. It needs a
 *   slot to begin, as any spawn. Another restart ends it, whether it hangs or not. An application
 *   has two at most, one of them such that has not ended yet, and begins none unless it has fewer
 *   than are left of twice max: who restarts again and again keeps no other from being replaced.
 * - A rolling restart first tries the new code: until an instance of it is ready, nothing else of
 *   the application is begun while there are old ones, who serve on. If it does not start, they
 *   serve on, nothing of it is begun, and only another restart tries again.
 * - Once it has started, old instances that nobody has used since go without a replacement, down to
 *   as many as the application is to have.
 * - Any other replacement that fails is tried again after a pause, as after failed spawns.
 */

import type { ApplicationRecord, InstanceRecord } from "./application.ts";
import { endUpgraded } from "./finishing.ts";
import type { PoolState } from "./state.ts";
import type { WornReason } from "./types.ts";

/** Of one application, under way at a time. */
const MAX_REPLACEMENTS = 2;

/**
 * Instances are worn up to a tenth before they have served all they may, lest all that were begun
 * together are replaced together.
 */
const JITTER_STEPS = 11;
const JITTER_PARTS = 100;

/** An instance is to be replaced, if it is in the pool. A restart outweighs other reasons. */
export function wearOut(state: PoolState, instance: InstanceRecord, reason: WornReason): void {
  const { standing, application } = instance;
  if (standing !== "pooled") return;
  if (instance.worn === undefined) application.worn++;
  if (instance.worn === undefined || reason === "restarted") instance.worn = reason;
  state.wearing.add(application);
}

export function countRequests(state: PoolState, instance: InstanceRecord, requests: number): void {
  const { maxRequests = 0 } = instance.application.settings;
  instance.requests += requests;
  const enough = maxRequests * (1 - (instance.id % JITTER_STEPS) / JITTER_PARTS);
  if (maxRequests > 0 && instance.requests >= enough) wearOut(state, instance, "requests");
}

/** Instances are as old as they may be, or have left the pool for as long as they may. */
export function wearOutOld(state: PoolState): void {
  const { ages, now } = state;
  for (let due = ages.first; due !== undefined && due.key <= now; due = ages.first) {
    ages.remove(due);
    if (due.owner.standing === "leaving") endUpgraded(state, due.owner);
    else wearOut(state, due.owner, "age");
  }
}

/** The code of an application has changed: all its instances are to be replaced. */
export function restartRolling(state: PoolState, application: ApplicationRecord): void {
  state.outdateSpawns(application);
  for (const instance of application.available) wearOut(state, instance, "restarted");
  for (const instance of application.full) wearOut(state, instance, "restarted");
  application.rollout = "trying";
  state.effects.push({ kind: "reload", root: application.root });
}

/** Begins the replacements that may begin. */
export function replaceWorn(state: PoolState): void {
  for (const application of state.wearing) {
    const { worn, replacement, rollout, failures, options } = application;
    if (worn === 0) {
      state.wearing.delete(application);
      endRollout(state, application);
    } else if (replacement === undefined && rollout !== "refused" && options !== undefined) {
      const mayBegin = !failures.isPaused(state.now) && mayReplace(state, application);
      if (mayBegin) state.beginReplacement(application, options);
    }
  }
}

/** Whether one more replacement of an application may be under way. */
export function mayReplace(state: PoolState, application: ApplicationRecord): boolean {
  const left = 2 * state.limits.max - state.replacements.size;
  return application.replacing < Math.min(MAX_REPLACEMENTS, left) && state.hasSlotFor(application);
}

/** Nothing of an application is old any more. */
function endRollout(state: PoolState, application: ApplicationRecord): void {
  const { root, rollout } = application;
  if (rollout === "refused") return;
  if (rollout === "trying") state.tally("restarts", application);
  if (rollout === "proven") state.effects.push({ kind: "rolledOut", root, outcome: "done" });
  application.rollout = undefined;
}
