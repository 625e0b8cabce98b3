/**
 * How many requests an instance serves (`maxRequests`). Rules:
 *
 * - It is worn, and a replacement is begun, when it has served nine tenths or more: instances
 *   differ in that, lest all that were begun together are replaced together.
 * - It is spent when with its open sessions it comes to a tenth more than the limit, although the
 *   replacement is not ready: it takes no further session, and those that are kept are asked for.
 *   Gets wait for the replacement then, or for what else there is.
 * - If that fails, or takes so long that it may hang, spent instances go on, and none is spent
 *   again before something of the application has started.
 * - None is spent without the global queue: gets are bound to busy instances there.
 */

import type { ApplicationRecord, InstanceRecord } from "./application.ts";
import type { PoolState } from "./state.ts";
import { wearOut } from "./worn.ts";

/** One of an application's instances after the other is worn a hundredth earlier. */
const JITTER_STEPS = 11;
const JITTER_PARTS = 100;

const MOST = 1.1;

/** An instance has served so many more requests. */
export function countRequests(
  state: PoolState,
  instance: InstanceRecord,
  requests: number,
  now: number,
): void {
  const { maxRequests = 0 } = instance.application.settings;
  instance.requests += requests;
  if (maxRequests === 0) return;
  const enough = maxRequests * (1 - (instance.id % JITTER_STEPS) / JITTER_PARTS);
  if (instance.requests >= enough) wearOut(state, instance, "requests");
  spend(state, instance, 0, now);
}

/**
 * Sees whether an instance is spent: a session has begun, or requests were told, which may be of
 * open ones. @param underWay requests that are not counted yet.
 */
export function spend(
  state: PoolState,
  instance: InstanceRecord,
  underWay: number,
  now: number,
): void {
  const { application, requests, standing, isSpent, keeping } = instance;
  const { maxRequests = 0 } = application.settings;
  if (maxRequests === 0 || isSpent || standing !== "pooled") return;
  if (requests + underWay < Math.floor(maxRequests * MOST)) return;
  wearOut(state, instance, "requests");
  if (!state.limits.useGlobalQueue || !hasHope(state, application)) return;
  state.shift(instance, { open: 0, undone: 0, isSpent: true }, now);
  if (keeping !== undefined) state.kept.recallAll(keeping, now);
}

/** Whether a replacement is to be expected soon. */
function hasHope({ options, slots }: PoolState, application: ApplicationRecord): boolean {
  const { replacement, rollout, failures } = application;
  if (options.failurePause === undefined || failures.count > 0) return false;
  return rollout !== "refused" && (replacement === undefined || replacement.turn.list === slots);
}

/** What is to replace an application's spent instances is not to be expected: they go on. */
export function goOn(state: PoolState, application: ApplicationRecord, now: number): void {
  for (const instance of application.full) {
    if (instance.isSpent) state.shift(instance, { open: 0, undone: 0, isSpent: false }, now);
  }
}
