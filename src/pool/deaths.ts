/**
 * How instances end though nobody let them go: they die, or cannot be connected to. One that does
 * so right after it was ready has not really started: its success is taken back, and it counts as a
 * failed start, so that an application that crashes on every request is spawned ever more rarely.
 */

import type { InstanceRecord } from "./application.ts";
import { noteFailure } from "./spawns.ts";
import type { PoolState } from "./state.ts";

/** A younger instance may have failed to start; an older one has lived. */
const EARLY_MS = 5_000;

/**
 * An instance that lives for so long after one of its sessions has ended can serve: a crash that
 * ends a session is noticed sooner.
 */
const PROOF_MS = 100;

/** Early ends in a row before the first pause: some may be killed for no fault of their own. */
const EARLY_ENDS_BEFORE_PAUSE = 10;

export function die(
  state: PoolState,
  instance: InstanceRecord,
  reason: "died" | "outOfMemory",
): void {
  state.tally("deaths", instance.application);
  const isPooled = instance.standing === "pooled";
  if (isPooled) noteIfEarly(state, instance, (after) => `it died ${after}`);
  state.leave(instance, "dead", isPooled ? reason : instance.reason);
}

/** An instance in the pool could not be connected to: it leaves. */
export function becomeUnreachable(state: PoolState, instance: InstanceRecord, cause: string): void {
  noteIfEarly(state, instance, (after) => `it could not be connected to ${after}: ${cause}`);
  state.leave(instance, "leaving", "unreachable");
}

function noteIfEarly(
  state: PoolState,
  instance: InstanceRecord,
  tell: (after: string) => string,
): void {
  const { application, readyMs, firstServedMs, failuresBefore } = instance;
  const { now, options } = state;
  if (options.failurePause === undefined) return;
  if (now - readyMs >= EARLY_MS || now - firstServedMs > PROOF_MS) return;
  application.failures.takeBack(failuresBefore);
  const message = tell(`${Math.round(now - readyMs)} ms after it was ready`);
  noteFailure(state, application, { message }, EARLY_ENDS_BEFORE_PAUSE);
}
