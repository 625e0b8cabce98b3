/** When the pool is to be looked at next although nothing happens: the first of all that is due. */

import { CLOSING_LIMIT_MS } from "./closing.ts";
import { beginsAnywayMs } from "./settle.ts";
import { nextLookMs } from "./shares.ts";
import type { PoolState } from "./state.ts";

/** Undefined: not before another event. */
export function nextDeadline(state: PoolState): number | undefined {
  const { reaps, ages, wearing, options, planned, slots } = state;
  const { deadlines, alarms, holds, kept, closingSoon, waiters } = state;
  const { overdue, timeLimits, bare, seeded } = state;
  const reapMs = Math.min(reaps.first?.key ?? Infinity, ages.first?.key ?? Infinity);
  const waitMs = deadlines.first?.key ?? Infinity;
  const alarmMs = alarms.first?.key ?? Infinity;
  const recallMs = Math.min(kept.due.first?.dueMs ?? Infinity, holds.first?.key ?? Infinity);
  const isSlotWanted = planned.size + bare.size + seeded.size + wearing.size > 0;
  const slowMs = isSlotWanted ? (slots.first?.sinceMs ?? Infinity) + options.slowSpawnMs : Infinity;
  const slotMs = Math.min(slowMs, beginsAnywayMs(state), nextLookMs(state));
  const closedMs = waiters.size === 0 ? undefined : closingSoon.first?.closedMs;
  const doneMs = (closedMs ?? Infinity) + CLOSING_LIMIT_MS;
  const limitMs = Math.min(overdue.first?.key ?? Infinity, timeLimits.first?.key ?? Infinity);
  const next = Math.min(reapMs, waitMs, alarmMs, recallMs, slotMs, doneMs, limitMs);
  return next === Infinity ? undefined : next;
}
