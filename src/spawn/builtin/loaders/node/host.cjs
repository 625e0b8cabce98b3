/**
 * All sessions of the instance: at most `concurrency` requests under way, further ones in their
 * order, and the end after those at hand. Sessions that are kept without a request count for
 * nothing. Runs inside instances.
 */
"use strict";

const { IncomingMessage, ServerResponse } = require("node:http");

const { symbolOf } = require("./answer.cjs");
const { tellDone } = require("./lifeline.cjs");
const { Session } = require("./session.cjs");

class Host {
  constructor(concurrency) {
    this.concurrency = concurrency;
    this.server = undefined;
    this.isLeaving = false;
    this.sessions = new Set();
    this.underWay = new Set();
    this.waiting = new Set();
  }

  /** From now on requests go to this server of the program. */
  serve(server) {
    this.server = server;
    this.requestClass = server[symbolOf(server, "IncomingMessage")] ?? IncomingMessage;
    this.responseClass = server[symbolOf(server, "ServerResponse")] ?? ServerResponse;
  }

  accept(socket) {
    this.sessions.add(new Session(socket, this));
  }

  begin(session) {
    if (this.underWay.size < this.concurrency) {
      this.underWay.add(session);
      session.start();
      return;
    }
    this.waiting.add(session);
    session.socket.pause();
  }

  /** A request is over; its session may have another. */
  end(session) {
    this.waiting.delete(session);
    if (this.underWay.delete(session)) this.startNext();
    if (this.isLeaving && session.state === "idle") session.close();
  }

  startNext() {
    const [next] = this.waiting;
    if (next === undefined || this.underWay.size >= this.concurrency) return;
    this.waiting.delete(next);
    this.underWay.add(next);
    next.socket.resume();
    next.start();
  }

  /** Everything is done for the session, though it may not be closed yet. */
  over(session) {
    if (session.isOver) return;
    session.isOver = true;
    tellDone();
  }

  /**
   * A session is closed before its answer had ended. The program is told of that in this turn of
   * the event loop; one that gets one request at a time must have ended its answer, too.
   */
  overWhenTold(session) {
    const { response } = session;
    const over = () => this.over(session);
    if (this.concurrency > 1 || response === undefined || response.writableEnded) {
      setImmediate(over);
      return;
    }
    const { end } = response;
    response.end = (...parameters) => {
      over();
      return end.apply(response, parameters);
    };
  }

  closed(session) {
    this.sessions.delete(session);
    if (!session.isOver) this.overWhenTold(session);
    this.end(session);
    this.leaveIfDone();
  }

  closeIdle() {
    for (const session of this.sessions) {
      if (session.state === "idle" && session.served > 0) session.close();
    }
  }

  destroyAll() {
    for (const session of this.sessions) session.socket.destroy();
  }

  /** Accepts nothing more, and ends the process after the sessions at hand. */
  leave() {
    if (this.isLeaving) return;
    this.isLeaving = true;
    if (this.server?.listening) this.server.close();
    this.closeIdle();
    this.leaveIfDone();
  }

  leaveIfDone() {
    if (!this.isLeaving || this.sessions.size > 0) return;
    endGroup();
    process.exit(0);
  }
}

/**
 * What the program has started and left running goes too. The server sees to that, if it is still
 * there.
 */
function endGroup() {
  process.on("SIGTERM", () => {});
  process.kill(0, "SIGTERM");
}

module.exports = { Host };
