/**
 * One session (PROTOCOL sections 5 and 11): a connection with a request on it, or several one after
 * the other. Runs inside instances. Each request becomes Node's own IncomingMessage and
 * ServerResponse, made here instead of by Node's HTTP parser; everything that a program does with
 * them is Node's own code.
 *
 * Back-pressure holds both ways: the socket is paused while the program does not read the body, and
 * what it writes waits in the socket. A client that is gone aborts the request.
 */
"use strict";

const { IncomingMessage, ServerResponse } = require("node:http");

const { needsDrain, ofSession, prepareResponse } = require("./answer.cjs");
const { BadBody, bodyOf } = require("./body.cjs");
const { BadRequest, maxHeadBytes, parseHead } = require("./request-head.cjs");
const { emitRequest, endProperties, makeRequest } = require("./request.cjs");

/** How long, and how much of, the rest of a body nobody wants is read. */
const lingerMs = 2_000;
const maxDrainedBytes = 1024 * 1024;

/** How often it is looked whether a client that has ended its side is still there. */
const probeMs = 1_000;
const nothing = Buffer.alloc(0);

class Session {
  /**
   * `host` knows all sessions: `server`, the program's; `isLeaving`; `begin(session)`, which calls
   * `start` when there is room; `end(session)` after a request; `over(session)` before it is
   * closed with nothing left to do for it; `closed(session)`.
   */
  constructor(socket, host) {
    this.socket = socket;
    this.host = host;
    this.state = "idle";
    this.parts = [];
    this.partsLength = 0;
    this.served = 0;
    /** Whether everything is done for it; the host's. */
    this.isOver = false;
    this.isKept = false;
    this.hasClientEnded = false;
    this.resetRequest();
    Object.defineProperties(socket, endProperties);
    socket[ofSession] = this;
    socket.on("data", onData).on("end", onEnd).on("drain", onDrain).on("close", onClose);
    socket.on("error", onError).on("timeout", onTimeout);
    this.sink = (bytes) => this.deliver(bytes);
  }

  resetRequest() {
    this.head = undefined;
    this.body = undefined;
    this.request = undefined;
    this.response = undefined;
    this.answerStart = 0;
    this.answerLength = undefined;
    this.drainedBytes = 0;
    this.timer = undefined;
  }

  data(chunk) {
    switch (this.state) {
      case "idle":
      case "head":
        return this.readHead(chunk);
      case "answering":
      case "draining":
        return this.readBody(chunk);
      case "waiting":
        return this.keepForLater(chunk);
      default: // The answer is out and the session ends: nobody wants it.
    }
  }

  keepForLater(chunk) {
    this.parts.push(chunk);
    this.partsLength += chunk.length;
  }

  readHead(chunk) {
    this.state = "head";
    this.keepForLater(chunk);
    if (this.partsLength < 4) return;
    const first = this.parts[0].length >= 4 ? this.parts[0] : this.joinParts();
    const size = first.readUInt32BE(0);
    if (size > maxHeadBytes) {
      this.refuse(new BadRequest(`headers of ${size} bytes, ${maxHeadBytes} at most`));
      return;
    }
    if (this.partsLength < 4 + size) return;
    const bytes = this.joinParts();
    this.parts = [];
    this.partsLength = 0;
    if (bytes.length > 4 + size) this.keepForLater(bytes.subarray(4 + size));
    try {
      this.head = parseHead(bytes.subarray(4, 4 + size));
    } catch (error) {
      this.refuse(error);
      return;
    }
    this.isKept = this.head.isKept;
    this.state = "waiting";
    this.host.begin(this);
  }

  joinParts() {
    if (this.parts.length > 1) this.parts = [Buffer.concat(this.parts)];
    return this.parts[0];
  }

  /** It is this request's turn. */
  start() {
    this.state = "answering";
    const { head, host, socket } = this;
    this.body = bodyOf(head);
    const request = makeRequest(head, socket, this.body, host.requestClass ?? IncomingMessage);
    const response = new (host.responseClass ?? ServerResponse)(request);
    this.request = request;
    this.response = response;
    prepareResponse(response, this);
    response.on("finish", onFinish);
    response.assignSocket(socket);
    if (host.server.timeout > 0) socket.setTimeout(host.server.timeout);
    this.served += 1;
    emitRequest(host.server, request, response);
    this.startBody();
  }

  startBody() {
    const { body, request } = this;
    if (body === undefined) {
      request.complete = true;
      request.push(null);
    } else if (this.partsLength > 0) {
      const bytes = this.joinParts();
      this.parts = [];
      this.partsLength = 0;
      this.readBody(bytes);
    }
    if (this.hasClientEnded) this.end();
  }

  readBody(bytes) {
    const { body } = this;
    if (body === undefined || body.isWhole) {
      // The next request, before the answer to this one: it waits.
      this.keepForLater(bytes);
      this.socket.pause();
      return;
    }
    let used = 0;
    try {
      used = body.read(bytes, this.sink);
    } catch (error) {
      if (!(error instanceof BadBody)) throw error;
      this.abort();
      return;
    }
    if (used < bytes.length) this.keepForLater(bytes.subarray(used));
    if (body.isWhole) this.endBody();
  }

  deliver(bytes) {
    const { request } = this;
    if (this.state === "draining") {
      this.drainedBytes += bytes.length;
      if (this.drainedBytes > maxDrainedBytes) this.close();
    } else if (bytes.length > 0 && !request.destroyed && !request.push(bytes)) {
      // While paused neither the client's end nor its death shows; reading the body resumes.
      if (!this.body.isWhole) this.socket.pause();
    }
  }

  endBody() {
    if (this.state === "draining") {
      this.next();
      return;
    }
    this.request.complete = true;
    this.request.push(null);
  }

  /** The client has ended its side: it has sent everything, or it is gone. */
  end() {
    this.hasClientEnded = true;
    const { body, state } = this;
    if (state === "idle" || state === "head" || state === "closing") this.closeNow();
    else if (state === "draining") this.close();
    else if (state === "answering") this.endRequest(body);
  }

  endRequest(body) {
    const isWhole = body === undefined || body.isWhole || body.left === Infinity;
    // On a kept session there is no half-close.
    if (!isWhole || this.isKept) {
      this.abort();
      return;
    }
    if (body !== undefined && !body.isWhole) {
      body.left = 0;
      this.endBody();
    }
    this.probe();
    this.timer = setInterval(() => this.probe(), probeMs).unref();
  }

  /** After its EOF a client that is gone shows only as EPIPE, also to a write of nothing. */
  probe() {
    if (this.socket.writableLength === 0) this.socket.write(nothing);
  }

  /** The request will never be whole. */
  abort() {
    this.request.destroy(goneError());
    this.socket.destroy();
  }

  /** The head of the answer is made. `length`: of its body, `chunked`, or undefined: to the end. */
  expect(response, headLength, length) {
    if (response !== this.response) return;
    this.answerStart = this.socket.bytesWritten + headLength;
    this.answerLength = length;
  }

  /** The answer is out. */
  finish() {
    const { request, response, socket } = this;
    const isInSync = this.isFramed();
    clearTimeout(this.timer);
    if (!request._consumed) request._dump();
    response.detachSocket(socket);
    process.nextTick(emitClose, response);
    if (socket.timeout > 0) socket.setTimeout(0);
    const { isLeaving, server } = this.host;
    const mayKeep = this.isKept && isInSync && !this.hasClientEnded && socket.writable;
    if (!mayKeep || isLeaving || !server.listening) this.close();
    else if (this.body === undefined || this.body.isWhole) this.next();
    else this.drain();
  }

  /** Whether the client can see where the answer ends: its length is the one announced. */
  isFramed() {
    if (this.answerLength === "chunked") return true;
    return this.socket.bytesWritten - this.answerStart === this.answerLength;
  }

  /** Reads the rest of a body that the program did not want, to get to the next request. */
  drain() {
    this.state = "draining";
    this.socket.resume();
    this.timer = setTimeout(() => this.close(), lingerMs).unref();
  }

  next() {
    clearTimeout(this.timer);
    this.resetRequest();
    this.state = "idle";
    this.host.end(this);
    const { parts } = this;
    if (parts.length === 0 || this.state !== "idle") return;
    this.parts = [];
    this.partsLength = 0;
    this.socket.resume();
    for (const part of parts) this.data(part);
  }

  /** Ends the session after what has been written. */
  close() {
    clearTimeout(this.timer);
    const isWhole = this.body === undefined || this.body.isWhole || this.hasClientEnded;
    this.state = "closing";
    if (isWhole) {
      this.closeNow();
      return;
    }
    this.host.over(this);
    // Closing with bytes unread would turn the client's EOF into ECONNRESET.
    this.socket.end();
    this.socket.resume();
    this.timer = setTimeout(() => this.socket.destroy(), lingerMs).unref();
  }

  closeNow() {
    this.host.over(this);
    this.socket.destroySoon();
  }

  refuse(error) {
    if (!(error instanceof BadRequest)) throw error;
    const body = `Bad request: ${error.message}.\n`;
    const length = Buffer.byteLength(body);
    const headers = `content-type: text/plain\r\ncontent-length: ${length}`;
    this.socket.write(`Status: 400 Bad Request\r\n${headers}\r\n\r\n${body}`);
    // What follows is not understood, and not wanted.
    this.close();
  }

  /** The connection is gone. */
  closed() {
    clearTimeout(this.timer);
    const { request } = this;
    this.state = "closed";
    if (request !== undefined && !request.destroyed) request.destroy(goneError());
    this.host.closed(this);
  }

  timedOut() {
    const { request, response, socket } = this;
    const heard = [
      request !== undefined && !request.complete && request.emit("timeout", socket),
      response !== undefined && response.emit("timeout", socket),
      this.host.server.emit("timeout", socket),
    ];
    if (!heard.includes(true)) socket.destroy();
  }
}

function goneError() {
  return Object.assign(new Error("aborted"), { code: "ECONNRESET" });
}

function emitClose(response) {
  response.destroyed = true;
  response._closed = true;
  response.emit("close");
}

// One function each for all sessions, instead of closures for every one.
function onData(chunk) {
  this[ofSession].data(chunk);
}

function onEnd() {
  this[ofSession].end();
}

function onClose() {
  this[ofSession].closed();
}

function onTimeout() {
  this[ofSession].timedOut();
}

/** The socket is destroyed, and `close` follows. */
function onError() {}

function onFinish() {
  const session = this[ofSession];
  if (session.response === this && session.state === "answering") session.finish();
}

/** As Node's server does: the socket has room again, so the response has. */
function onDrain() {
  const { response } = this[ofSession];
  if (response === undefined || response.writableFinished || !response[needsDrain]) return;
  response[needsDrain] = false;
  response.emit("drain");
}

module.exports = { Session };
