/**
 * Asking: one request on its way to an instance, from the moment it waits for a session until its
 * answer ends. Rules:
 * - It is repeated when its instance ended before the first byte of an answer, if its body is here
 *   and the method allows that (RFC 9110, 9.2.2) or nothing of it was read: after a kept session,
 *   whose end may have crossed the request, on a fresh one; after a fresh one, once more, a moment
 *   later: its process may be dying, and still take connections that the pool thinks are served.
 * - Waiting for a session and waiting for the answer have limits of their own. The second does not
 *   run while the instance takes the request, or while the asker has yet to send it.
 * - The instance may answer before it has read the request: its answer counts; such a stream serves
 *   no further request, nor does one with bytes behind an answer.
 * - It ends once: whole, failed, or given up.
 */
import type { AnswerHabits, AnswerHead } from "../wire/answer-head.ts";
import { AnswerReader, type AnswerSink } from "../wire/answer-reader.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import type { FramedHead } from "../wire/session-headers.ts";
import { AnswerTimeoutError, BusyError, SessionError } from "./errors.ts";
import { type OutgoingBody, RequestSender } from "./request-sender.ts";
import type { Session } from "./session.ts";
import type { SessionWaiter } from "./session-line.ts";
import type { SessionStream, StreamUser } from "./session-stream.ts";

export interface Asker extends Omit<AnswerSink, "end"> {
  /** The session is over, and the answer with it. */
  answered(): void;
  /** What has come so far may go out. */
  flush(): void;
  /** There is no answer, or no more of it. */
  failed(error: unknown): void;
  /** Whether more of the answer would have to wait. */
  readonly isFull: boolean;
  /** The instance takes bytes again. */
  instanceTakes(): void;
  /** After a switch: it has ended its side. */
  instanceEnded(): void;
}

/** In milliseconds; 0 or undefined: no limit. */
export interface AskedLimits {
  /** How long it may wait for a session. */
  readonly queueMs?: number | undefined;
  /** How long the instance may take to begin its answer, once it has the request. */
  readonly responseMs?: number | undefined;
  /** How long it may take in all, but for what its asker takes; then its instance is ended. */
  readonly requestMs?: number | undefined;
  /** From when on it is said to be slow. */
  readonly slowMs?: number | undefined;
}

export interface SessionSource {
  /** How messages call what is waited for. */
  readonly get: string;
  /** Whether there is another session if the first one fails. */
  readonly hasMore: boolean;
  /** @param waitedMs of what it may wait. */
  take(waiter: SessionWaiter, waitedMs: number): void;
  leave(waiter: SessionWaiter): void;
  /** Whether it may be taken again although it could not be served. */
  outlives(error: unknown, waitedMs: number): boolean;
}

export interface Asked {
  readonly source: SessionSource;
  readonly method: string;
  /** Method and path. */
  readonly what: string;
  readonly upload: OutgoingBody | undefined;
  readonly limits: AskedLimits;
  readonly habits: AnswerHabits;
  /** For the line: see SessionWaiter. */
  readonly maxWaiting: number;
  readonly token: string | undefined;
  /** Whether the program that answers was asked to change the protocol. */
  readonly mayChange: boolean;
  /** What is sent before the body. @throws SessionError where it cannot be sent. */
  headFor(session: Session, isFramed: boolean): FramedHead;
  /** What of the answer's head the asker is told. */
  told(head: AnswerHead, instanceKey: string): AnswerHead;
  slow(ms: number, asking: Asking): void;
}

/** How long after: by then the kernel has told the pool of a process that has lost its sessions. */
const dyingMs = 50;

const repeatable = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export class Asking implements SessionWaiter, StreamUser, AnswerSink {
  needsFresh = false;
  /** The instance's process; 0: none. */
  pid = 0;
  readonly maxWaiting: number;
  readonly token: string | undefined;
  readonly #asked: Asked;
  readonly #asker: Asker;
  /** Since when it waits for a session, put off by what it has waited before. */
  #beganMs = 0;
  #stream: SessionStream | undefined;
  #sender: RequestSender | undefined;
  #reader: AnswerReader | undefined;
  #state: "prepared" | "waiting" | "asking" | "answering" | "switched" | "over" = "prepared";
  /** Whether an instance has failed it on a fresh session. */
  #hasFailed = false;
  #isPaused = false;
  /** Whether it was said that it takes long. */
  #isSlow = false;
  /** Whether the answer came to its end. */
  #isWhole = false;
  #waitedMs = 0;
  /** Since when the instance has let us wait, and what it had taken then. */
  #sinceMs = 0;
  #sentBytes = -1;
  /** When it was served, put off by all the time that the asker has taken since. */
  #servedMs = 0;
  #tickedMs = 0;

  constructor(asked: Asked, asker: Asker) {
    this.#asked = asked;
    this.#asker = asker;
    this.maxWaiting = asked.maxWaiting;
    this.token = asked.token;
  }

  /** How long it has waited for a session, in milliseconds. */
  get waitedMs(): number {
    return this.#state === "waiting" ? performance.now() - this.#beganMs : this.#waitedMs;
  }

  /** Asks for a session, now that all there has to be for the request is there. */
  begin(): void {
    this.#wait();
    this.#asked.source.take(this, this.#waitedMs);
  }

  #wait(): void {
    this.#state = "waiting";
    this.#beganMs = performance.now() - this.#waitedMs;
  }

  /** For the line: here is a session. */
  serve(stream: SessionStream, nowMs: number): void {
    this.#waitedMs = nowMs - this.#beganMs;
    this.#state = "asking";
    this.#servedMs = nowMs;
    this.#tickedMs = nowMs;
    this.pid = stream.session.pid;
    this.needsFresh = stream.served > 0;
    this.#sentBytes = -1;
    this.#isPaused = false;
    this.#stream = stream;
    const { upload, method, habits } = this.#asked;
    if (upload?.isBuffered === true) upload.rewind();
    const { session, isFramed } = stream;
    this.#reader = new AnswerReader(this, method === "HEAD", habits, session.speaksHttp);
    stream.begin(this);
    try {
      this.#sender = new RequestSender(stream, this.#asked.headFor(session, isFramed), upload);
    } catch (error) {
      return this.stop(error);
    }
    this.#send();
    // Who has sent as much as may wait here was told to wait.
    this.#asker.instanceTakes();
  }

  /** For the line: there is none. */
  fail(error: unknown): void {
    if (this.#state === "over") return;
    const { source } = this.#asked;
    this.#waitedMs = this.waitedMs;
    if (source.outlives(error, this.#waitedMs)) return source.take(this, this.#waitedMs);
    this.#state = "over";
    this.#asker.failed(error);
  }

  /** For the stream, as are `drained` and `ended`. */
  receive(chunk: Buffer): void {
    try {
      this.#reader?.push(chunk);
    } catch (cause) {
      return this.stop(cause instanceof ProtocolError ? this.#broken(cause) : cause);
    }
    if (this.#isWhole) return this.#asker.answered();
    this.#stream?.awaitMore();
    this.#asker.flush();
    if (!this.#asker.isFull || this.#isPaused) return;
    this.#isPaused = true;
    this.#stream?.pause();
  }

  drained(): void {
    this.#send();
    this.#asker.instanceTakes();
  }

  ended(): void {
    if (this.#state === "over") return;
    if (this.#state === "switched") return this.#asker.instanceEnded();
    try {
      // With a body a reset may only say that the program has not read all of it.
      const isReset = this.#asked.upload === undefined && this.#stream?.isBroken === true;
      this.#reader?.ended(isReset);
    } catch (cause) {
      if (!(cause instanceof ProtocolError)) throw cause;
      return this.#endedEarly(this.#broken(cause));
    }
    this.#asker.answered();
  }

  /** There is more of the body, or it is whole. */
  bodyGrew(): void {
    this.#send();
  }

  /** The asker takes the answer again. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#stream?.resume();
  }

  /** After a switch: the asker's bytes. @returns how many the kernel took. */
  write(bytes: Uint8Array): number {
    return this.#stream?.write(bytes) ?? -1;
  }

  /** After a switch: the asker has ended its side. */
  endWriting(): void {
    this.#stream?.endWriting();
  }

  /** Nobody wants the answer any more. */
  giveUp(): void {
    this.#leave(false);
  }

  /** Ends it if its time is up. */
  tick(nowMs: number): void {
    const { queueMs = 0, responseMs = 0, requestMs = 0, slowMs = Infinity } = this.#asked.limits;
    if (this.#state === "waiting") {
      if (queueMs > 0 && nowMs - this.#beganMs >= queueMs) {
        this.stop(new BusyError(`${this.#asked.source.get}: no session within ${queueMs} ms`));
      }
      return;
    }
    const isWorking = this.#state === "asking" || this.#state === "answering";
    // What an asker takes to send or to read is none of the application's time.
    const waitsForAsker = this.#isPaused || this.#sender?.awaitsInstance !== true;
    if (waitsForAsker) this.#servedMs += nowMs - this.#tickedMs;
    this.#tickedMs = nowMs;
    const tookMs = nowMs - this.#servedMs;
    if (isWorking && tookMs >= slowMs && !this.#isSlow) this.#noteSlow(tookMs);
    if (isWorking && requestMs > 0 && tookMs >= requestMs) {
      const text = `${this.instance}: no whole answer within ${requestMs} ms`;
      return this.stop(new AnswerTimeoutError(text), true);
    }
    if (this.#state !== "asking") return;
    const sentBytes = this.#sender?.sentBytes ?? 0;
    if (this.#sender?.awaitsInstance !== true || sentBytes !== this.#sentBytes) {
      this.#sinceMs = nowMs;
      this.#sentBytes = sentBytes;
    } else if (responseMs > 0 && nowMs - this.#sinceMs >= responseMs) {
      this.stop(new AnswerTimeoutError(`${this.instance}: no answer within ${responseMs} ms`));
    }
  }

  #noteSlow(ms: number): void {
    this.#isSlow = true;
    this.#asked.slow(ms, this);
    this.#stream?.session.slow();
  }

  /** For the reader, as is all up to `end`. */
  interim(head: AnswerHead): void {
    this.#asker.interim(head);
  }

  switched(head: AnswerHead): void {
    this.#asker.switched(this.#told(head));
    this.#state = "switched";
    this.#stream?.session.long();
  }

  head(head: AnswerHead): void {
    this.#state = "answering";
    this.#asker.head(this.#told(head));
  }

  #told(head: AnswerHead): AnswerHead {
    return this.#asked.told(head, this.#stream?.session.instanceKey ?? "");
  }

  body(bytes: Uint8Array): void {
    this.#asker.body(bytes);
  }

  end(isClean: boolean): void {
    this.#isWhole = true;
    // A program ends what it has refused to change, and does not say so.
    const mayFollow = isClean && !this.#asked.mayChange;
    this.#release(mayFollow && this.#sender?.isSentFramed === true);
  }

  /** Sends on; a body that cannot be read back ends the request. */
  #send(): void {
    try {
      this.#sender?.goOn();
    } catch (error) {
      this.stop(error);
    }
  }

  /** How messages call it. */
  get instance(): string {
    return `request to instance ${this.pid}`;
  }

  /** It is no answer, or not all of one. */
  #broken(cause: ProtocolError): SessionError {
    const hasBegun = this.#reader?.hasBegun === true;
    return new SessionError(`${this.instance}: ${cause.message}`, hasBegun, { cause });
  }

  #endedEarly(error: SessionError): void {
    const isUnread = this.#stream?.isUnread === true;
    this.#release(false);
    if (error.answerBegan || !this.#mayRepeat(isUnread)) return this.#asker.failed(error);
    const wasFresh = !this.needsFresh;
    this.needsFresh = true;
    // On a session that was kept, it has been no instance's fault yet.
    if (!wasFresh) return this.begin();
    this.#hasFailed = true;
    this.#beginLater();
  }

  #beginLater(): void {
    this.#wait();
    setTimeout(() => {
      if (this.#state === "waiting") this.#asked.source.take(this, this.waitedMs);
    }, dyingMs);
  }

  #mayRepeat(isUnread: boolean): boolean {
    const { upload, method, source } = this.#asked;
    const isHere = upload?.isBuffered !== false && source.hasMore;
    return isHere && (isUnread || repeatable.has(method)) && !this.#hasFailed;
  }

  /** Ends it with an error, unless it is over. @param isOverdue its instance has had its time. */
  stop(error: unknown, isOverdue = false): void {
    if (this.#state === "over") return;
    this.#leave(isOverdue);
    this.#asker.failed(error);
  }

  /** @param isOverdue whether the instance has had its time. */
  #leave(isOverdue: boolean): void {
    const wasSwitched = this.#state === "switched";
    if (this.#state === "waiting") this.#asked.source.leave(this);
    this.#waitedMs = this.waitedMs;
    const stream = this.#stream;
    if (stream === undefined || wasSwitched) return this.#release(false);
    this.#forget(stream);
    stream.abandon(this.#asked.what, isOverdue);
  }

  /** @param isClean whether the stream is fit for another request. */
  #release(isClean: boolean): void {
    const stream = this.#stream;
    this.#forget(stream);
    stream?.release(isClean);
  }

  #forget(stream: SessionStream | undefined): void {
    this.#state = "over";
    this.#stream = undefined;
    this.#sender = undefined;
    if (this.#isPaused) stream?.resume();
  }
}
