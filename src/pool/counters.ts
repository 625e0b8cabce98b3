/** The pool's counters: plain numbers that the pool counts up and a snapshot copies. */

import { retireReasons, type PoolCounters } from "./types.ts";

type Writable<T> = {
  -readonly [K in keyof T]: T[K] extends number ? number : Record<keyof T[K], number>;
};

export type Counters = Writable<PoolCounters>;

export function newCounters(): Counters {
  const none = retireReasons.map((reason) => [reason, 0] as const);
  const retirements = Object.fromEntries(none) as Counters["retirements"];
  return {
    gets: 0,
    grants: 0,
    grantsOfBusy: 0,
    waits: 0,
    cancels: 0,
    sessionsClosed: 0,
    refusals: { queueFull: 0, timedOut: 0, spawnFailed: 0, cannotConnect: 0 },
    spawnsPlanned: 0,
    spawnsDropped: 0,
    spawnsBegun: 0,
    spawnsDone: 0,
    spawnsFailed: 0,
    restarts: 0,
    clears: 0,
    retirements,
    deaths: 0,
    connectFailures: 0,
    moves: 0,
    recalls: { sent: 0, closed: 0, kept: 0, timedOut: 0 },
    peakCount: 0,
    peakActive: 0,
    peakWaiting: 0,
  };
}
