/**
 * One timer for whatever somebody waits for: it is only ever moved forward, and set again when it
 * has rung. A pool's next deadline changes with each event, and hardly ever to an earlier one.
 */

/** The longest that a timer of the platform can be set for. */
const maxTimerMs = 2 ** 31 - 1;

export class Alarm {
  readonly #ring: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueMs = Infinity;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Rings then, by performance.now(), or when it was to ring already if that is earlier. */
  set(dueMs: number | undefined): void {
    if (dueMs === undefined || dueMs >= this.#dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    const afterMs = Math.min(Math.max(0, dueMs - performance.now()), maxTimerMs);
    this.#timer = setTimeout(() => {
      this.#dueMs = Infinity;
      this.#ring();
    }, afterMs);
  }

  /** Never rings again, whatever is set. */
  close(): void {
    clearTimeout(this.#timer);
    this.#dueMs = -Infinity;
  }
}
