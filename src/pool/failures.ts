/**
 * What an application's failed spawns lead to: the second in a row begins a pause in which it is
 * not spawned again, and every pause is twice as long as the one before. The record outlives the
 * pause, so that an application asked for now and then does not start over each time.
 */

import type { PoolOptions, SpawnFailure } from "./types.ts";

/** Failures in a row before the first pause: one may be an accident. */
const FAILURES_BEFORE_PAUSE = 2;

/**
 * An application that nobody asks for is remembered so long for its failure: twice the longest
 * default pause.
 */
const MIN_MEMORY_MS = 60_000;

export class Failures {
  /** The last one; it stays to be shown after a success. */
  last: SpawnFailure | undefined;
  lastMs = 0;
  /** In a row; 0: nothing to remember. */
  count = 0;
  #pauses = 0;
  #pausedUntilMs = 0;

  /** When the pause is or was over. */
  get pausedUntilMs(): number {
    return this.#pausedUntilMs;
  }

  isPaused(now: number): boolean {
    return now < this.#pausedUntilMs;
  }

  /** Until when an application with nothing else is remembered. */
  memoryEndsMs(pause: PoolOptions["failurePause"]): number {
    return this.lastMs + Math.max(MIN_MEMORY_MS, 2 * (pause?.maxMs ?? 0));
  }

  /**
   * A spawn failed. Failures during a pause are of spawns from before it and do not lengthen it.
   */
  note(failure: SpawnFailure, pause: PoolOptions["failurePause"], now: number): void {
    this.last = failure;
    this.lastMs = now;
    this.count++;
    if (pause === undefined || this.count < FAILURES_BEFORE_PAUSE || this.isPaused(now)) return;
    this.#pausedUntilMs = now + Math.min(pause.maxMs, pause.firstMs * 2 ** this.#pauses);
    this.#pauses++;
  }

  /** A spawn succeeded, or the code has changed: the next failure is the first. */
  reset(): void {
    this.count = 0;
    this.#pauses = 0;
    this.#pausedUntilMs = 0;
  }
}
