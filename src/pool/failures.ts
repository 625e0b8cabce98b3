/**
 * What an application's failed starts lead to: the second failed spawn in a row, or the tenth early
 * death, begins a pause in which it is not spawned again, and every pause is twice as long as the
 * one before. The record outlives the pause, so that an application asked for now and then does not
 * start over each time.
 */

import type { PoolOptions, SpawnFailure } from "./types.ts";

/** How long a failure is remembered that nobody asks about: twice the longest default pause. */
const MIN_MEMORY_MS = 60_000;

/** Failures in a row, and the pauses they have led to. */
export interface FailureRecord {
  readonly count: number;
  readonly pauses: number;
}

/** Shared by all instances of applications that start well. */
const NO_FAILURES: FailureRecord = Object.freeze({ count: 0, pauses: 0 });

export class Failures {
  /** The last one; it stays to be shown after a success. */
  last: SpawnFailure | undefined;
  lastMs = 0;
  /** In a row; 0: nothing to remember. */
  count = 0;
  /** When the pause is or was over. */
  pausedUntilMs = 0;
  #pauses = 0;

  isPaused(now: number): boolean {
    return now < this.pausedUntilMs;
  }

  /** Until when an application with nothing else is remembered. */
  memoryEndsMs(pause: PoolOptions["failurePause"]): number {
    return this.lastMs + Math.max(MIN_MEMORY_MS, 2 * (pause?.maxMs ?? 0));
  }

  /**
   * A start failed, the `most`-th in a row or a later one begins a pause. Failures during a pause
   * are of starts from before it and do not lengthen it.
   */
  note(failure: SpawnFailure, most: number, pause: PoolOptions["failurePause"], now: number): void {
    this.remember(failure, now);
    this.count++;
    if (pause === undefined || this.count < most || this.isPaused(now)) return;
    this.pausedUntilMs = now + Math.min(pause.maxMs, pause.firstMs * 2 ** this.#pauses);
    this.#pauses++;
  }

  /** A failure that is only to be shown: nobody waited for its start. */
  remember(failure: SpawnFailure, now: number): void {
    this.last = failure;
    this.lastMs = now;
  }

  get record(): FailureRecord {
    if (this.count + this.#pauses === 0) return NO_FAILURES;
    return { count: this.count, pauses: this.#pauses };
  }

  /** The success that ended this record was none. */
  takeBack({ count, pauses }: FailureRecord): void {
    this.count = Math.max(this.count, count);
    this.#pauses = Math.max(this.#pauses, pauses);
  }

  /** A spawn succeeded, or the code has changed: the next failure is the first. */
  reset(): void {
    this.count = 0;
    this.#pauses = 0;
    this.pausedUntilMs = 0;
  }
}
