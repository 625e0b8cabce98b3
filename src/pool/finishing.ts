/**
 * Instances that are out of the pool and not yet let go: how they are counted, which of them have
 * nothing but abandoned requests left (overdue.ts) and make room for others there, and how long
 * they keep their upgraded sessions.
 */

import type { InstanceRecord } from "./application.ts";
import { HeapEntry } from "./heap.ts";
import type { PoolState } from "./state.ts";
import type { Overrun } from "./types.ts";

/** When one is looked at again that has requests beside upgraded sessions. */
const AGAIN_MS = 1_000;

/**
 * Ends an instance out of the pool before its time that has abandoned requests alone: of the
 * application with most of them for its weight the one that was heard of longest ago.
 */
export function giveUpFinishing(state: PoolState): void {
  let chosen: InstanceRecord | undefined;
  for (const instance of state.instances.values()) {
    if (instance.standing !== "leaving" || instance.open > 0) continue;
    if (chosen === undefined || comesBefore(instance, chosen)) chosen = instance;
  }
  if (chosen === undefined) return;
  giveUp(state, chosen, "crowded", chosen.overdue?.sessions[0]?.what);
}

function comesBefore(a: InstanceRecord, b: InstanceRecord): boolean {
  const more = shareOf(a) - shareOf(b);
  return more > 0 || (more === 0 && a.lastUsedMs < b.lastUsedMs);
}

function shareOf({ application }: InstanceRecord): number {
  return application.finishing / application.weight;
}

/** Whether an instance whose place another was given has the time of an abandoned request. */
export function hasTime({ options }: PoolState, instance: InstanceRecord): boolean {
  const { standing, reason, closing, overdue } = instance;
  if (standing !== "leaving" || reason !== "evicted" || closing === 0) return false;
  return options.shareAfterMs !== undefined && overdue?.turn.heap !== undefined;
}

/** An instance out of the pool that still serves is one more or fewer. */
export function countLeaving(state: PoolState, instance: InstanceRecord, change: 1 | -1): void {
  const { standing, open, application } = instance;
  if (standing !== "leaving") return;
  state.leaving += change;
  if (open > 0) return;
  state.finishing += change;
  application.finishing += change;
}

/**
 * An instance has left the pool, or a session of it was upgraded: there may be a limit to both. One
 * that made room has none: its visitors would come back to take its place anew.
 */
export function limitUpgraded({ ages, now }: PoolState, instance: InstanceRecord): void {
  const { application, standing, reason, long } = instance;
  const { upgradedMs } = application.settings;
  if (standing !== "leaving" || reason === "evicted") return;
  if (upgradedMs === undefined || long === 0) return;
  instance.age ??= new HeapEntry<InstanceRecord>(instance);
  if (instance.age.heap === undefined) ages.set(instance.age, now + upgradedMs);
}

/** The upgraded sessions of an instance out of the pool have had their time. */
export function endUpgraded(state: PoolState, instance: InstanceRecord): void {
  const { age, long, open } = instance;
  if (age === undefined || long === 0) return;
  if (open > long) state.ages.set(age, state.now + AGAIN_MS);
  else giveUp(state, instance, "upgraded");
}

/** No request of an instance is looked at any more. */
export function forgetOverdue(state: PoolState, { overdue }: InstanceRecord): void {
  if (overdue !== undefined) state.overdue.remove(overdue.turn);
}

/** An instance leaves the pool if it has not, and whoever performs that ends its process. */
export function giveUp(
  state: PoolState,
  instance: InstanceRecord,
  overrun: Overrun,
  what?: string,
): void {
  forgetOverdue(state, instance);
  if (instance.isGivenUp || instance.standing === "dead") return;
  instance.isGivenUp = true;
  state.effects.push({ kind: "giveUp", instance: instance.id, overrun, what });
  const reason = overrun === "large" ? "hardMemory" : "overdue";
  if (instance.standing === "pooled") state.leave(instance, "leaving", reason);
  else state.retireIfDone(instance);
}
