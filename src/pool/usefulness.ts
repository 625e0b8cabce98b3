/**
 * Which instances of a full pool that is shared are of use, as far as the pool can know: to let one
 * go for an application that has none costs who uses it its start again. Others' pools (without
 * `shareAfterMs`) let any idle instance go.
 *
 * - An instance is at rest if it has been idle for so long as a get waits for a share.
 * - It is stuck if nothing has been heard of it for so long although it has something to do: all
 *   its sessions are closed, or it serves one at a time and that one is not a kept one that may
 *   rest, nor one that lasts. An instance that serves several keeps its place while one is open:
 *   another beside it would split its state.
 * - An idle one that was used within the last moment is in use, as is one with kept sessions that
 *   nobody has asked about: their requests are not seen here.
 */

import type { InstanceRecord } from "./application.ts";
import { giveUpFinishing } from "./finishing.ts";
import type { PoolState } from "./state.ts";

/** The shortest time between two looks; little beside what a start takes. */
export const LOOK_MS = 100;

/** Whether a get of an application that has nothing may have an idle instance let go at once. */
export function mayEvict({ now, busy, spawning, limits, idle, options }: PoolState) {
  if (busy + spawning >= limits.max) return false;
  const { shareAfterMs } = options;
  return shareAfterMs === undefined || (idle.first?.lastUsedMs ?? now) <= now - shareAfterMs;
}

/**
 * The instance of least use, if one is of none: stuck, the longest first, or idle and not in use.
 * Looks at all instances. Those at rest have gone before.
 */
export function leastUsed(state: PoolState): InstanceRecord | undefined {
  const { idle, instances } = state;
  const stuckMs = state.now - (state.options.shareAfterMs ?? Infinity);
  let least: InstanceRecord | undefined;
  if (mayLeave(state)) {
    for (const instance of instances.values()) {
      if (instance.lastUsedMs > stuckMs || !isStuck(instance)) continue;
      if (least === undefined || instance.lastUsedMs < least.lastUsedMs) least = instance;
    }
  }
  if (least !== undefined) return least;
  return idle.first !== undefined && !isInUse(state, idle.first) ? idle.first : undefined;
}

/** Whether a busy instance may leave: outside the pool there is room, or somebody to make some. */
export function mayLeave({ leaving, finishing, limits }: PoolState): boolean {
  return leaving < limits.max || finishing > 0;
}

export function evict(state: PoolState, instance: InstanceRecord): void {
  const { leaving, limits } = state;
  if (instance.sessions > 0 && leaving >= limits.max) giveUpFinishing(state);
  state.leave(instance, "leaving", "evicted");
}

export function isInUse({ now }: PoolState, { lastUsedMs, keeping }: InstanceRecord): boolean {
  return lastUsedMs > now - LOOK_MS || (keeping?.unasked.size ?? 0) > 0;
}

/** Whether an instance of which nothing has been heard for a while is stuck. */
function isStuck({ standing, sessions, open, load, long, concurrency, keeping }: InstanceRecord) {
  if (standing !== "pooled" || sessions === 0) return false;
  if (open === 0) return true;
  const mayRest = long > 0 || (keeping?.unasked.size ?? 0) > 0;
  return concurrency === 1 && load >= 1 && !mayRest;
}
