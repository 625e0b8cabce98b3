/**
 * One session (PROTOCOL sections 5 and 11): a connection with a request on it, or several one after
 * the other, for the loaders of JavaScript. Runs inside instances. This is the part that they have
 * in common: where heads and bodies begin and end, and how a session does. A loader's own class
 * makes a request of them, and says when its answer is out.
 *
 * When an answer is complete although the body is not, the session ends, as the answer's head has
 * said. The rest of the body is read and thrown away for a moment: closing at once would turn the
 * client's EOF into ECONNRESET.
 */
"use strict";

const { BadBody, bodyOf } = require("./body.ts");
const { BadRequest, headEnd, parseHead } = require("./head.ts");

/** How long the rest of a body nobody wants is read. */
const lingerMs = 2_000;

const nothing = Buffer.alloc(0);
const crlf = Buffer.from("\r\n");
const lastChunk = Buffer.from("0\r\n\r\n");

class InstanceSession {
  /**
   * @param connection `write(data)`; `pause()`, `resume()`; `end()` after what has been written;
   * `shutdown()`, the same for this side alone; `destroy()`. @param host knows all sessions.
   *
   * A loader's class has `begin(head)`; `deliver(bytes)`, of the body, lent; `endBody()`, where
   * there was one (both also when the answer is out already); `abort(error)`, when it will never be
   * whole; `gone(wasAnswering)`, when the connection is, to answer whether something is still done
   * for the request.
   */
  constructor(connection, host) {
    this.connection = connection;
    this.host = host;
    /** Also `waiting` for its turn, `answering`, `changed`, `closing`, `closed`. */
    this.state = "head";
    /** Bytes that came before their time. */
    this.ahead = nothing;
    this.head = undefined;
    this.body = undefined;
    this.served = 0;
    this.generation = host.generation;
    /** The session ends with the answer, as its head has said. */
    this.isLast = false;
    this.hasClientEnded = false;
    this.isOver = false;
    this.timer = undefined;
    this.sink = (bytes) => this.deliver(bytes);
    host.opened(this);
  }

  /** Whether all it waits for is a further request. */
  get isIdle() {
    return this.state === "head" && this.served > 0 && this.ahead.length === 0;
  }

  get isBodyWhole() {
    return this.body === undefined || this.body.isWhole;
  }

  /** Bytes from the client, which are lent for the time of the call. */
  data(chunk) {
    switch (this.state) {
      case "head":
        this.readHead(chunk);
        return;
      case "waiting":
        this.keepForLater(chunk);
        return;
      case "answering":
        this.readBody(chunk);
        return;
      default: // The answer is out and the session ends: nobody wants it.
    }
  }

  keepForLater(chunk) {
    this.ahead = this.ahead.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.ahead, chunk]);
  }

  readHead(chunk) {
    const bytes = this.ahead.length === 0 ? chunk : Buffer.concat([this.ahead, chunk]);
    try {
      const end = headEnd(bytes);
      if (end === undefined || bytes.length < end) {
        this.ahead = bytes === chunk ? Buffer.from(chunk) : bytes;
        return;
      }
      this.head = parseHead(bytes, end);
      this.ahead = bytes.length === end ? nothing : Buffer.from(bytes.subarray(end));
    } catch (error) {
      this.refuse(error);
      return;
    }
    this.state = "waiting";
    this.host.begin(this);
  }

  /** It is this request's turn. */
  start() {
    this.state = "answering";
    this.served += 1;
    this.body = bodyOf(this.head);
    try {
      this.begin(this.head);
    } catch (error) {
      this.refuse(error);
      return;
    }
    const { ahead } = this;
    if (ahead.length > 0 && !this.isBodyWhole) {
      this.ahead = nothing;
      this.data(ahead);
    }
    if (this.hasClientEnded) this.end();
  }

  /** The body, if all of it came with the head; then it is not delivered. */
  takeWholeBody() {
    const { ahead, body } = this;
    if (body === undefined || ahead.length !== this.head.contentLength) return undefined;
    this.ahead = nothing;
    body.read(ahead, () => {});
    return ahead;
  }

  /** A body whose length is not known goes on to a parser of HTTP in chunks. */
  get isInChunks() {
    return this.body !== undefined && this.head.contentLength === undefined;
  }

  /** Bytes of the body as they go on; none: its end. */
  framed(bytes) {
    if (!this.isInChunks) return bytes;
    if (bytes.length === 0) return lastChunk;
    return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, crlf]);
  }

  readBody(bytes) {
    const { body } = this;
    if (this.isBodyWhole) {
      this.readAhead(bytes);
      return;
    }
    let used = 0;
    try {
      used = body.read(bytes, this.sink);
    } catch (error) {
      if (!(error instanceof BadBody)) throw error;
      this.abort(error);
      return;
    }
    if (used < bytes.length) this.readAhead(bytes.subarray(used));
    if (!body.isWhole) return;
    this.endBody();
  }

  /** The next request, before the answer to this one: it waits. */
  readAhead(bytes) {
    this.keepForLater(bytes);
    this.connection.pause();
  }

  /** The client has ended its side: it has sent everything, or it is gone. */
  end() {
    this.hasClientEnded = true;
    const { body, state } = this;
    if (state === "head" || state === "closing") this.closeNow();
    else if (state === "answering") this.endRequest(body);
  }

  endRequest(body) {
    // On a kept session there is no half-close.
    if (this.head.isKept || !(this.isBodyWhole || body.isToTheEnd)) {
      this.abort(new BadBody("the client ended the body early"));
    } else if (!this.isBodyWhole) {
      body.end();
      this.endBody();
    }
  }

  /**
   * What the head of an answer, which is made now, has to say of the session's end: who keeps
   * sessions must not send the next request on one that ends. @param ends as the program says.
   */
  lastLine(ends = false) {
    const { host } = this;
    const isOld = host.isLeaving || this.generation !== host.generation;
    this.isLast = this.head.isKept && (ends || isOld || !this.isBodyWhole);
    return this.isLast ? "connection: close\r\n" : "";
  }

  /** The answer is out. @param isFramed whether the client can see where it ends. */
  answered(isFramed) {
    if (this.state !== "answering") return;
    const mayKeep = this.head.isKept && isFramed && !this.isLast && !this.hasClientEnded;
    if (mayKeep && !this.host.isLeaving) this.next();
    else this.close();
  }

  /** The session is of another protocol from now on: the loader's own affair until it is closed. */
  change() {
    this.state = "changed";
    this.host.end(this);
  }

  next() {
    clearTimeout(this.timer);
    this.state = "head";
    this.head = undefined;
    this.body = undefined;
    this.host.end(this);
    const { ahead } = this;
    if (ahead.length === 0) return;
    this.ahead = nothing;
    setImmediate(() => {
      this.connection.resume();
      this.data(ahead);
    });
  }

  /** Ends the session after what has been written. */
  close() {
    clearTimeout(this.timer);
    if (this.isBodyWhole || this.hasClientEnded) {
      this.closeNow();
      return;
    }
    this.state = "closing";
    this.over();
    this.connection.shutdown();
    this.connection.resume();
    this.timer = setTimeout(() => this.connection.destroy(), lingerMs).unref();
  }

  closeNow() {
    this.state = "closing";
    this.over();
    this.connection.end();
  }

  refuse(error) {
    if (!(error instanceof BadRequest)) throw error;
    this.answerSimply(error.status, `Bad request: ${error.message}.\n`);
  }

  /**
   * Answers by itself; what follows is not understood, and not wanted. It has no length: who sees
   * where it ends takes the session for one that goes on, and loses the next request on it.
   */
  answerSimply(status, text) {
    this.connection.write(`Status: ${status}\r\ncontent-type: text/plain\r\n\r\n${text}`);
    this.close();
  }

  /** Everything is done for it, though it may not be closed yet: once for each session. */
  over() {
    if (this.isOver) return;
    this.isOver = true;
    this.host.over();
  }

  /** The connection is gone. */
  closed() {
    if (this.state === "closed") return;
    clearTimeout(this.timer);
    const wasAnswering = this.state === "answering";
    this.state = "closed";
    // The program is told, and hears of it in this turn of the event loop. One that gets a single
    // request at a time has to settle its answer, too.
    const isBusy = this.gone(wasAnswering);
    if (!isBusy || !this.host.isSerial) setImmediate(() => this.over());
    this.host.closed(this);
  }
}

module.exports = { InstanceSession };
