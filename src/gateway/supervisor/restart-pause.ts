/**
 * How long to wait before a process that has ended is started anew: not at all if it had lived for
 * a while, longer and longer if it ends again and again. So one crash costs nothing, and a crash at
 * every start does not become a storm.
 */

/** One that lived this long has shown that it can. */
const provenMs = 10_000;
const firstMs = 100;
const maxMs = 10_000;

export class RestartPause {
  #nextMs = 0;

  /** @param livedMs how long the process had lived. @returns the pause, in milliseconds. */
  after(livedMs: number): number {
    const pauseMs = livedMs >= provenMs ? 0 : this.#nextMs;
    this.#nextMs = Math.min(maxMs, pauseMs === 0 ? firstMs : pauseMs * 2);
    return pauseMs;
  }
}
