/**
 * How replacements of worn instances (worn.ts) end: they take over, or what they were for serves
 * on.
 */

import type { ApplicationRecord, InstanceRecord, NewInstance, Spawn } from "./application.ts";
import { hasPlace, maySpawn } from "./places.ts";
import { serveReady } from "./settle.ts";
import { serveOutside } from "./spawns.ts";
import type { PoolState } from "./state.ts";
import type { SpawnFailure } from "./types.ts";

/** A replacement is ready: it takes the place of a worn instance, the one with least to do. */
export function takeOver(state: PoolState, replacement: Spawn, ready: NewInstance): InstanceRecord {
  const { application } = replacement;
  const { available, full, failures } = application;
  const isCurrent = state.endReplacement(replacement);
  const instance = state.newInstance(replacement, ready);
  if (!isCurrent) {
    serveOutside(state, instance, "outdated", 0);
    return instance;
  }
  application.lastConcurrency = ready.concurrency;
  failures.reset();
  if (application.rollout === "trying") {
    application.rollout = "proven";
    state.tally("restarts", application);
  }
  const old = available.find(isWorn) ?? full.find(isWorn);
  if (old?.worn !== undefined) state.leave(old, "leaving", old.worn);
  else if (!hasPlace(state) || !maySpawn(state, application)) {
    serveOutside(state, instance, "excess", Infinity);
    return instance;
  }
  state.move(instance, "pooled");
  letUnusedGo(state, application, replacement.sinceMs);
  serveReady(state, application);
  return instance;
}

/** Old instances that were idle all the time since a replacement began need none. */
function letUnusedGo(state: PoolState, application: ApplicationRecord, sinceMs: number): void {
  const least = Math.max(1, application.minInstances);
  for (const instance of application.available) {
    if (application.count <= least) return;
    const { worn, sessions, lastUsedMs } = instance;
    if (worn === undefined || sessions > 0 || lastUsedMs > sinceMs) continue;
    state.leave(instance, "leaving", worn);
  }
}

/** A replacement has failed: what it was for serves on. */
export function serveOn(state: PoolState, replacement: Spawn, failure: SpawnFailure): void {
  const { application } = replacement;
  state.tally("spawnsFailed", application);
  if (!state.endReplacement(replacement)) return;
  const { failurePause } = state.options;
  if (application.rollout !== "trying" && failurePause !== undefined) {
    // The first is reason enough to wait: nobody waits for it.
    application.failures.note(failure, 1, failurePause, state.now);
    state.alarms.set(application.alarm, application.failures.pausedUntilMs);
    return;
  }
  application.failures.remember(failure, state.now);
  for (const instance of application.available) state.unwear(instance);
  for (const instance of application.full) state.unwear(instance);
  state.wearing.delete(application);
  if (application.rollout === undefined) return;
  application.rollout = "refused";
  application.counters.restartsRefused++;
  state.effects.push({ kind: "rolledOut", root: application.root, outcome: "refused" });
}

function isWorn({ worn }: InstanceRecord): boolean {
  return worn !== undefined;
}
