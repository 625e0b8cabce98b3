/**
 * Whether it is worth having gets wait in the pool beside the sessions there are. While a get waits
 * there, sessions are recalled for its sake: if none of them is idle and there is no room for
 * another instance, each is given back after a request only to be got again. So who has tried for a
 * while and has no more sessions than before rests, and rests longer each time. Fewer sessions than
 * then end the rest: somebody else has been served, or an instance is gone.
 *
 * Time is counted in ticks of the caller's clock.
 */

/** Long enough for all gets that may wait to have been sent. */
const tryTicks = 4;
const firstRestTicks = 4;
/** A second: what becomes ready meanwhile is found then. */
const maxRestTicks = 40;

export class Growth {
  /** Sessions when the try or the rest began. */
  #sessions = 0;
  #triedTicks = 0;
  #restTicks = 0;
  #nextRestTicks = firstRestTicks;

  /** Whether gets may wait, with so many sessions. */
  mayTry(sessions: number): boolean {
    return this.#restTicks === 0 || sessions < this.#sessions;
  }

  /** Somebody needs a session that is not here: it has to be tried at once. */
  insist(): void {
    this.#restTicks = 0;
  }

  /** @param isTrying whether gets wait. @returns whether they are to be withdrawn. */
  tick(sessions: number, isTrying: boolean): boolean {
    if (this.#restTicks > 0) this.#restTicks -= 1;
    if (!isTrying || sessions > this.#sessions) {
      if (sessions > this.#sessions) this.#nextRestTicks = firstRestTicks;
      if (this.#restTicks === 0) this.#sessions = sessions;
      this.#triedTicks = 0;
      return false;
    }
    this.#triedTicks += 1;
    if (this.#triedTicks < tryTicks) return false;
    this.#sessions = sessions;
    this.#triedTicks = 0;
    this.#restTicks = this.#nextRestTicks;
    this.#nextRestTicks = Math.min(2 * this.#nextRestTicks, maxRestTicks);
    return true;
  }
}
