/**
 * All sessions of the instance: at most `concurrency` requests under way, further ones in their
 * order, and the end after those at hand. Sessions that are kept without a request count for
 * nothing. Runs inside instances.
 */
import type { Handler, Session, SessionHost } from "./session.ts";

export class Host implements SessionHost {
  readonly #concurrency: number;
  readonly #stopListening: () => void;
  readonly #sessions = new Set<Session>();
  readonly #underWay = new Set<Session>();
  readonly #waiting = new Set<Session>();
  readonly #tellDone: () => void;
  readonly handler: Handler;
  isLeaving = false;

  /**
   * @param stopListening so that no further session comes. @param tellDone is called when a session
   * is over, once for each.
   */
  constructor(
    concurrency: number,
    handler: Handler,
    stopListening: () => void,
    tellDone: () => void,
  ) {
    this.#concurrency = concurrency;
    this.handler = handler;
    this.#stopListening = stopListening;
    this.#tellDone = tellDone;
  }

  get isSerial(): boolean {
    return this.#concurrency === 1;
  }

  over(): void {
    this.#tellDone();
  }

  opened(session: Session): void {
    this.#sessions.add(session);
  }

  begin(session: Session): void {
    if (this.#underWay.size < this.#concurrency) {
      this.#underWay.add(session);
      session.start();
      return;
    }
    this.#waiting.add(session);
    session.pause();
  }

  end(session: Session): void {
    this.#waiting.delete(session);
    if (!this.#underWay.delete(session) || this.#waiting.size === 0) return;
    const [next] = this.#waiting;
    if (next === undefined || this.#underWay.size >= this.#concurrency) return;
    this.#waiting.delete(next);
    this.#underWay.add(next);
    next.resume();
    next.start();
  }

  closed(session: Session): void {
    this.#sessions.delete(session);
    this.end(session);
    this.#leaveIfDone();
  }

  /** Accepts nothing more, and ends the process after the sessions at hand. */
  leave(): void {
    if (this.isLeaving) return;
    this.isLeaving = true;
    this.#stopListening();
    for (const session of this.#sessions) session.closeIfLeaving();
    this.#leaveIfDone();
  }

  #leaveIfDone(): void {
    if (!this.isLeaving || this.#sessions.size > 0) return;
    endGroup();
    process.exit(0);
  }
}

/**
 * What the program has started and left running goes too. The server sees to that, if it is still
 * there.
 */
function endGroup(): void {
  process.on("SIGTERM", () => {});
  process.kill(0, "SIGTERM");
}
