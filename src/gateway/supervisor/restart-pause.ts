/**
 * How long to wait before a process that has ended is started anew. What grows, if it ends again
 * and again, is the time from one start to the next: so a crash at every start does not become a
 * storm, and whoever has served meanwhile is replaced at once, a second time as well.
 */

/** One that lived this long has shown that it can. */
const provenMs = 10_000;
const firstMs = 100;
const maxMs = 10_000;

export class RestartPause {
  #nextMs = 0;

  /** @param livedMs how long the process had lived. @returns the pause, in milliseconds. */
  after(livedMs: number): number {
    const betweenMs = livedMs >= provenMs ? 0 : this.#nextMs;
    this.#nextMs = Math.min(maxMs, betweenMs === 0 ? firstMs : betweenMs * 2);
    return Math.max(0, Math.ceil(betweenMs - livedMs));
  }
}
