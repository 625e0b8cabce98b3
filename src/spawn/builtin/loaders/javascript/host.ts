/**
 * All sessions of the instance, for the loaders of JavaScript: at most `concurrency` requests under
 * way, further ones in their order, and the end after those at hand. Sessions that are kept without
 * a request count for nothing. Runs inside instances.
 */
/** What it knows of one. */
interface HostedSession {
  readonly isIdle: boolean;
  /** Whether all is done for it, though it may not be closed yet. */
  readonly isOver: boolean;
  readonly connection: { pause(): void; resume(): void };
  start(): void;
  close(): void;
}

export class Host {
  readonly concurrency: number;
  readonly stopListening: () => void;
  readonly tellDone: () => void;
  readonly exit: () => void;
  isLeaving = false;
  leavesUnused = false;
  /** Sessions of those before end with their next answer. */
  generation = 0;
  /** Whether other processes or threads of the program have the sessions. */
  isServedByOthers = false;
  /** Whether the listener is this thread's, if it asks first. */
  claim: () => boolean = () => true;
  readonly sessions = new Set<HostedSession>();
  readonly underWay = new Set<HostedSession>();
  readonly waiting = new Set<HostedSession>();

  /**
   * @param stopListening so that no further session comes. @param tellDone is called once for each
   * session, when everything is done for it. @param exit ends the process, once none is left.
   */
  constructor(
    concurrency: number,
    stopListening: () => void,
    tellDone: () => void,
    exit: () => void = exitWithGroup,
  ) {
    this.concurrency = concurrency;
    this.stopListening = stopListening;
    this.tellDone = tellDone;
    this.exit = exit;
  }

  /** Whether the program gets one request at a time. */
  get isSerial(): boolean {
    return this.concurrency === 1;
  }

  opened(session: HostedSession): void {
    this.sessions.add(session);
  }

  begin(session: HostedSession): void {
    if (this.underWay.size < this.concurrency) {
      this.underWay.add(session);
      session.start();
      return;
    }
    this.waiting.add(session);
    session.connection.pause();
  }

  /** A request is over, or will not begin; its session may have another. */
  end(session: HostedSession): void {
    this.waiting.delete(session);
    if (this.underWay.delete(session) && this.waiting.size > 0) this.startNext();
    if (this.isLeaving && session.isIdle) session.close();
  }

  startNext(): void {
    const [next] = this.waiting;
    if (next === undefined || this.underWay.size >= this.concurrency) return;
    this.waiting.delete(next);
    this.underWay.add(next);
    next.connection.resume();
    next.start();
  }

  closed(session: HostedSession): void {
    this.sessions.delete(session);
    this.end(session);
    if (this.leavesUnused) this.leaveUnused();
    this.leaveIfDone();
  }

  closeIdle(): void {
    for (const session of this.sessions) if (session.isIdle) session.close();
  }

  /** One is over: see there. */
  over(): void {
    this.tellDone();
    if (this.leavesUnused) this.leaveUnused();
  }

  /** Has the sessions so far end, each with its next answer: who keeps them opens others. */
  renew(): void {
    this.generation += 1;
  }

  /** Accepts nothing more, and ends the process after the sessions at hand. */
  leave(): void {
    if (this.isLeaving) return;
    this.isLeaving = true;
    this.stopListening();
    this.closeIdle();
    this.leaveIfDone();
  }

  /**
   * Leaves after the last session: where the server has died, clients have no others yet; else it
   * has asked for those that are kept.
   */
  leaveUnused(): void {
    this.leavesUnused = true;
    for (const session of this.sessions) if (!session.isOver) return;
    this.leave();
  }

  leaveIfDone(): void {
    if (!this.isLeaving || this.sessions.size > 0) return;
    this.exit();
  }
}

/**
 * What the program has started and left running goes too. The server sees to that, if it is still
 * there.
 */
function exitWithGroup(): never {
  process.on("SIGTERM", () => {});
  process.kill(0, "SIGTERM");
  process.exit(0);
}
