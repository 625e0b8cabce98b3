/**
 * All sessions of the instance, for the loaders of JavaScript: at most `concurrency` requests under
 * way, further ones in their order, and the end after those at hand. Sessions that are kept without
 * a request count for nothing. Runs inside instances.
 */
"use strict";

class Host {
  /**
   * @param stopListening so that no further session comes. @param tellDone is called once for each
   * session, when everything is done for it. @param exit ends the process, once none is left.
   */
  constructor(concurrency, stopListening, tellDone, exit = exitWithGroup) {
    this.concurrency = concurrency;
    this.stopListening = stopListening;
    this.tellDone = tellDone;
    this.exit = exit;
    this.isLeaving = false;
    /** Whether other processes or threads of the program have the sessions. */
    this.isServedByOthers = false;
    /** Whether the listener is this thread's, if it asks first. */
    this.claim = () => true;
    this.sessions = new Set();
    this.underWay = new Set();
    this.waiting = new Set();
  }

  /** Whether the program gets one request at a time. */
  get isSerial() {
    return this.concurrency === 1;
  }

  opened(session) {
    this.sessions.add(session);
  }

  begin(session) {
    if (this.underWay.size < this.concurrency) {
      this.underWay.add(session);
      session.start();
      return;
    }
    this.waiting.add(session);
    session.connection.pause();
  }

  /** A request is over, or will not begin; its session may have another. */
  end(session) {
    this.waiting.delete(session);
    if (this.underWay.delete(session) && this.waiting.size > 0) this.startNext();
    if (this.isLeaving && session.isIdle) session.close();
  }

  startNext() {
    const [next] = this.waiting;
    if (this.underWay.size >= this.concurrency) return;
    this.waiting.delete(next);
    this.underWay.add(next);
    next.connection.resume();
    next.start();
  }

  closed(session) {
    this.sessions.delete(session);
    this.end(session);
    this.leaveIfDone();
  }

  closeIdle() {
    for (const session of this.sessions) if (session.isIdle) session.close();
  }

  /** Accepts nothing more, and ends the process after the sessions at hand. */
  leave() {
    if (this.isLeaving) return;
    this.isLeaving = true;
    this.stopListening();
    this.closeIdle();
    this.leaveIfDone();
  }

  leaveIfDone() {
    if (!this.isLeaving || this.sessions.size > 0) return;
    this.exit();
  }
}

/**
 * What the program has started and left running goes too. The server sees to that, if it is still
 * there.
 */
function exitWithGroup() {
  process.on("SIGTERM", () => {});
  process.kill(0, "SIGTERM");
  process.exit(0);
}

module.exports = { Host };
