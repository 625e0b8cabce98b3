/**
 * All sessions of the instance: at most `concurrency` requests under way, further ones in their
 * order, and the end after those at hand. Sessions that are kept without a request count for
 * nothing. Runs inside instances.
 */
"use strict";

const { IncomingMessage, ServerResponse } = require("node:http");

const { symbolOf } = require("./answer.cjs");
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

  closed(session) {
    this.sessions.delete(session);
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
