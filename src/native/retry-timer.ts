/**
 * A short timer for what the event loop cannot wait for: a full socket buffer, a full backlog, a
 * lack of descriptors. The pause doubles up to a bound while nothing moves and starts anew when
 * something did.
 */

export class RetryTimer {
  readonly #attempt: () => void;
  readonly #firstMs: number;
  readonly #maxMs: number;
  #pauseMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(attempt: () => void, firstMs: number, maxMs: number) {
    this.#attempt = attempt;
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#pauseMs = firstMs;
  }

  /** Arms the timer unless it is armed. */
  arm(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pauseMs = Math.min(this.#pauseMs * 2, this.#maxMs);
      this.#attempt();
    }, this.#pauseMs);
  }

  /** Something moved: the next pause is short again. */
  reset(): void {
    this.#pauseMs = this.#firstMs;
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
