/**
 * Asking: one request on its way to an instance, from the moment it waits for a session until its
 * answer ends. Rules:
 * - It is repeated when its instance ended before the first byte of an answer, if its body is here
 *   and the method allows that (RFC 9110, 9.2.2) or nothing of it was read: after a kept session,
 *   whose end may have crossed the request, on a fresh one; after a fresh one, once more.
 * - Waiting for a session and waiting for the answer have limits of their own. The second does not
 *   run while the instance takes the request, or while the visitor has yet to send it.
 * - The instance may answer before it has read the request: its answer counts; such a stream serves
 *   no further request, nor does one with bytes behind an answer.
 * - It ends once: whole, failed, or given up.
 */
import {
  AnswerTimeoutError,
  BusyError,
  ServerGoneError,
  SessionError,
} from "../../parent/errors.ts";
import type { SessionWaiter } from "../../parent/session-line.ts";
import type { SessionStream, StreamUser } from "../../parent/session-stream.ts";
import type { AnswerHabits, AnswerHead } from "../../wire/answer-head.ts";
import { AnswerReader, type AnswerSink } from "../../wire/answer-reader.ts";
import { FieldNames } from "../../wire/field-names.ts";
import { ProtocolError } from "../../wire/protocol-error.ts";
import type { AppConfig } from "../config.ts";
import type { RequestFields } from "../files/conditions.ts";
import type { Origin } from "../policy/forwarded.ts";
import { mayWonder, withSlash } from "../policy/below-prefix.ts";
import { stickyLine, tokenOf } from "../policy/stickiness.ts";
import { reasonOf } from "./head-text.ts";
import type { RoutedRequest } from "./cgi-block.ts";
import { framedHead } from "./request-framing.ts";
import { RequestSender } from "./request-sender.ts";
import type { Site } from "./site.ts";
import type { Upload } from "../bodies/upload.ts";

/** Who asks. */
export interface Asker extends Omit<AnswerSink, "end"> {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly fields: RequestFields;
  readonly remoteAddress: string;
  readonly scheme: Origin["scheme"];
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

export interface Asked {
  readonly app: AppConfig;
  readonly request: RoutedRequest;
  /** Whether `head` is lines of HTTP/1.1 or variables of CGI. */
  readonly speaksHttp: boolean;
  /** Without what says where the body ends. */
  readonly head: string;
  /** Of the body if the visitor has said so; undefined: there is none, or it is in chunks. */
  readonly contentLength: number | undefined;
  readonly upload: Upload | undefined;
}

/** How long a request waits for a pool server if it may wait for an instance without limit. */
const defaultWaitMs = 10_000;

/** Every answer has an X-Request-Id from us. */
const habits: AnswerHabits = {
  names: new FieldNames((lowerCase) => (lowerCase === "x-request-id" ? "drop" : "")),
  reasonOf,
};

const repeatable = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export class Asking implements SessionWaiter, StreamUser, AnswerSink {
  needsFresh = false;
  readonly maxWaiting: number;
  readonly token: string | undefined;
  readonly #site: Site;
  readonly #asker: Asker;
  readonly #asked: Asked;
  /** Since when it waits for a session. */
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
  #pid = 0;
  /** Since when the instance has let us wait, and what it had taken then. */
  #sinceMs = 0;
  #sentBytes = -1;
  /** When it was served, put off by all the time that the visitor has taken since. */
  #servedMs = 0;
  #tickedMs = 0;

  constructor(site: Site, asker: Asker, asked: Asked) {
    this.#site = site;
    this.#asker = asker;
    this.#asked = asked;
    this.maxWaiting = site.maxWaitingOf(asked.app);
    this.token = tokenOf(asked.app, asker.fields, asker.remoteAddress);
  }

  /** How long it has waited for a session, in milliseconds. */
  get waitedMs(): number {
    const nowMs = this.#state === "waiting" ? performance.now() - this.#beganMs : 0;
    return this.#waitedMs + nowMs;
  }

  /** The instance's process; 0: none. */
  get pid(): number {
    return this.#pid;
  }

  /** Asks for a session, now that all there has to be for the request is there. */
  begin(): void {
    this.#state = "waiting";
    this.#beganMs = performance.now();
    this.#site.link.take(this.#asked.app, this, this.#limitMs);
  }

  /** For the line: here is a session. */
  serve(stream: SessionStream, nowMs: number): void {
    this.#waitedMs += nowMs - this.#beganMs;
    this.#state = "asking";
    this.#servedMs = nowMs;
    this.#tickedMs = nowMs;
    this.#pid = stream.session.pid;
    this.needsFresh = stream.served > 0;
    this.#sentBytes = -1;
    this.#isPaused = false;
    this.#stream = stream;
    const { upload } = this.#asked;
    if (upload?.isBuffered === true) upload.rewind();
    const { session, isFramed } = stream;
    const { head, framing } = framedHead(this.#asked, session.speaksHttp, isFramed);
    this.#sender = new RequestSender(stream, head, upload, framing);
    const isHead = this.#asker.method === "HEAD";
    this.#reader = new AnswerReader(this, isHead, habits, session.speaksHttp);
    stream.begin(this);
    this.#send();
    // A visitor who has sent as much as may wait here was told to wait.
    this.#asker.instanceTakes();
  }

  /** For the line: there is none. */
  fail(error: unknown): void {
    if (this.#state === "over") return;
    // The pool server has gone, and no instance has seen the request: the next server may have it.
    const isLost = error instanceof ServerGoneError && !this.#site.link.isClosed;
    const leftMs = this.#beganMs + this.#limitMs - performance.now();
    if (isLost && leftMs > 0) return this.#site.link.take(this.#asked.app, this, leftMs);
    this.#waitedMs = this.waitedMs;
    this.#state = "over";
    this.#asker.failed(error);
  }

  /** For the stream. */
  receive(chunk: Buffer): void {
    try {
      this.#reader?.push(chunk);
    } catch (cause) {
      if (cause instanceof ProtocolError) return this.#broken(cause, true);
      return this.#giveUpWith(cause);
    }
    if (this.#isWhole) return this.#asker.answered();
    this.#asker.flush();
    if (!this.#asker.isFull || this.#isPaused) return;
    this.#isPaused = true;
    this.#stream?.pause();
  }

  /** For the stream: the instance takes bytes again. */
  drained(): void {
    this.#send();
    this.#asker.instanceTakes();
  }

  /** For the stream. */
  ended(): void {
    if (this.#state === "over") return;
    if (this.#state === "switched") return this.#asker.instanceEnded();
    try {
      this.#reader?.ended();
    } catch (cause) {
      if (!(cause instanceof ProtocolError)) throw cause;
      return this.#broken(cause, this.#reader?.hasBegun === true);
    }
    this.#asker.answered();
  }

  /** There is more of the body, or it is whole. */
  uploadGrew(): void {
    this.#send();
  }

  /** The visitor takes the answer again. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#stream?.resume();
  }

  /** After a switch: the visitor's bytes. @returns how many the kernel took. */
  write(bytes: Uint8Array): number {
    return this.#stream?.write(bytes) ?? -1;
  }

  /** After a switch: the visitor has ended his side. */
  endWriting(): void {
    this.#stream?.endWriting();
  }

  /** Nobody wants the answer any more. */
  giveUp(): void {
    this.#leave(false);
  }

  /** Ends it if its time is up. */
  tick(nowMs: number): void {
    const { queueMs, responseMs } = this.#site.config.limits;
    const { options, slowRequestMs = Infinity } = this.#asked.app;
    const { requestTimeoutMs = 0 } = options;
    if (this.#state === "waiting") {
      if (queueMs > 0 && nowMs - this.#beganMs >= queueMs) {
        const what = `get '${this.#asked.app.root}'`;
        this.#giveUpWith(new BusyError(`${what}: no session within ${queueMs} ms`));
      }
      return;
    }
    const isWorking = this.#state === "asking" || this.#state === "answering";
    // What a visitor takes to send or to read is none of the application's time.
    const waitsForVisitor = this.#isPaused || this.#sender?.awaitsInstance !== true;
    if (waitsForVisitor) this.#servedMs += nowMs - this.#tickedMs;
    this.#tickedMs = nowMs;
    const tookMs = nowMs - this.#servedMs;
    if (isWorking && tookMs >= slowRequestMs && !this.#isSlow) this.#noteSlow(tookMs);
    const isLate = requestTimeoutMs > 0 && tookMs >= requestTimeoutMs;
    if (isLate && isWorking) {
      const text = `${this.#what}: no whole answer within ${requestTimeoutMs} ms`;
      return this.#giveUpWith(new AnswerTimeoutError(text), true);
    }
    if (this.#state !== "asking") return;
    const sentBytes = this.#sender?.sentBytes ?? 0;
    if (this.#sender?.awaitsInstance !== true || sentBytes !== this.#sentBytes) {
      this.#sinceMs = nowMs;
      this.#sentBytes = sentBytes;
    } else if (responseMs > 0 && nowMs - this.#sinceMs >= responseMs) {
      this.#giveUpWith(new AnswerTimeoutError(`${this.#what}: no answer within ${responseMs} ms`));
    }
  }

  #noteSlow(ms: number): void {
    this.#isSlow = true;
    const { id, method, path } = this.#asker;
    const request = `${method} ${path}`;
    const { app } = this.#asked;
    this.#site.slow({ id, app, request, ms, queueMs: this.#waitedMs, pid: this.#pid });
    this.#stream?.session.slow();
  }

  /** For the reader. */
  interim(head: AnswerHead): void {
    this.#asker.interim(head);
  }

  /** For the reader. */
  switched(head: AnswerHead): void {
    this.#asker.switched(this.#stuck(head));
    this.#state = "switched";
    this.#stream?.session.long();
  }

  /** For the reader. */
  head(head: AnswerHead): void {
    this.#state = "answering";
    this.#asker.head(this.#stuck(head.status === 404 ? this.#missing(head) : head));
  }

  #missing(head: AnswerHead): AnswerHead {
    const { app, script, below, head: request } = this.#asked.request;
    const { method, target } = request;
    const told = withSlash(head, { method, target, script, below });
    if (mayWonder(told.status, script, app)) this.#site.wonders(app, target.path);
    return told;
  }

  /** For the reader. */
  body(bytes: Uint8Array): void {
    this.#asker.body(bytes);
  }

  /** For the reader. */
  end(isClean: boolean): void {
    this.#isWhole = true;
    // A program ends what it has refused to change, and does not say so.
    const mayFollow = isClean && this.#asked.request.head.upgrade === "";
    this.#release(mayFollow && this.#sender?.isSentFramed === true);
  }

  /** With the line by which the visitor goes on with the process that answers, if he needs it. */
  #stuck(head: AnswerHead): AnswerHead {
    const key = this.#stream?.session.instanceKey ?? "";
    const isSecure = this.#asker.scheme === "https";
    const line = key === "" ? "" : stickyLine(this.#asked.app, this.token, key, isSecure);
    return line === "" ? head : { ...head, lines: head.lines + line };
  }

  /** Sends on; a body that cannot be read back ends the request. */
  #send(): void {
    try {
      this.#sender?.goOn();
    } catch (error) {
      this.#giveUpWith(error);
    }
  }

  /** How long it waits for a session, or for a pool server. */
  get #limitMs(): number {
    return this.#site.config.limits.queueMs || defaultWaitMs;
  }

  get #what(): string {
    return `request to instance ${this.#pid}`;
  }

  /** The stream came to its end, or to something that is no answer. */
  #broken(cause: ProtocolError, answerBegan: boolean): void {
    const error = new SessionError(`${this.#what}: ${cause.message}`, answerBegan, { cause });
    const isUnread = this.#stream?.isUnread === true;
    this.#release(false);
    if (!answerBegan && this.#mayRepeat(isUnread)) return this.#repeat();
    this.#asker.failed(error);
  }

  #repeat(): void {
    // On a session that was kept, it has been no instance's fault yet.
    if (!this.needsFresh) this.#hasFailed = true;
    this.needsFresh = true;
    this.begin();
  }

  #mayRepeat(isUnread: boolean): boolean {
    const isHere = this.#asked.upload?.isBuffered !== false;
    return isHere && (isUnread || repeatable.has(this.#asker.method)) && !this.#hasFailed;
  }

  #giveUpWith(error: unknown, isOverdue = false): void {
    this.#leave(isOverdue);
    this.#asker.failed(error);
  }

  /** @param isOverdue whether the instance has had its time. */
  #leave(isOverdue: boolean): void {
    const wasSwitched = this.#state === "switched";
    if (this.#state === "waiting") this.#site.link.leave(this.#asked.app, this);
    this.#waitedMs = this.waitedMs;
    const stream = this.#stream;
    if (stream === undefined || wasSwitched) return this.#release(false);
    this.#forget(stream);
    stream.abandon(`${this.#asker.method} ${this.#asker.path}`, isOverdue);
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
