/**
 * Exchange: one request and its answer on the stream of a session. Rules:
 * - Whatever ends it (the answer is whole, cancelled, failed, the instance gone) goes through
 *   #finish, which releases the stream, once.
 * - The instance may answer before it has read the request: its answer counts, what could not be
 *   written does not matter. Such a stream serves no further request.
 * - Bytes nobody has read yet are bounded: above a mark the stream is paused. A paused stream
 *   reports neither data nor its end, so it is resumed as soon as the reader asks for more.
 * - The end of the stream ends an answer without framing; any other that is not whole is an error,
 *   and so are bytes after a whole one.
 */
import type { AnswerHabits, AnswerHead } from "../wire/answer-head.ts";
import { AnswerReader, type AnswerSink } from "../wire/answer-reader.ts";
import { FieldNames } from "../wire/field-names.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import { SessionError, UnreadRequestError } from "./errors.ts";
import type { SessionStream, StreamUser } from "./session-stream.ts";

/**
 * Unread bytes of an answer at which the stream is paused; Bun hands out up to 512 KiB at a time.
 */
const pauseAtBytes = 256 * 1024;

/** A caller sees what the application said, and no reason where it gave none. */
const habits: AnswerHabits = { names: new FieldNames(), reasonOf: () => "" };

interface PendingRead<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Who waits for the head of the answer: hears of it, or of what came in between, once. */
export interface HeadListener {
  /** The request's method and path. */
  readonly request: string;
  answered(head: AnswerHead, exchange: Exchange): void;
  failed(error: unknown): void;
}

export class Exchange implements StreamUser, AnswerSink {
  /** How error messages call it. */
  readonly what: string;
  /** The instance's process. */
  readonly pid: number;
  readonly #stream: SessionStream;
  readonly #listener: HeadListener;
  readonly #answer: AnswerReader;
  #head: AnswerHead | undefined;
  #isOver = false;
  #error: { readonly cause: unknown } | undefined;
  #isLate = false;
  /** Whether the instance has ended the stream. */
  #isEnded = false;
  #headTold = false;
  #sentBytes = 0;
  #request: "under way" | "sent" | "sent by half-close" = "under way";
  #chunks: Uint8Array[] = [];
  #unread = 0;
  #paused = false;
  #pendingRead: PendingRead<Uint8Array | undefined> | undefined;
  /** What the kernel has not taken yet. */
  #unsent: { rest: Uint8Array; readonly done: () => void } | undefined;
  readonly #onEnd: (() => void)[] = [];

  /** @param isHead whether the request is a HEAD: its answer has no body, whatever it says. */
  constructor(stream: SessionStream, isHead: boolean, listener: HeadListener) {
    this.#stream = stream;
    this.#answer = new AnswerReader(this, isHead, habits);
    this.#listener = listener;
    this.pid = stream.session.pid;
    this.what = `request to instance ${this.pid}`;
    stream.begin(this);
  }

  get answerBegan(): boolean {
    return this.#answer.hasBegun;
  }

  /** Whether it is over, for better or worse. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether writing still has a purpose. */
  get isWritable(): boolean {
    return !this.isOver;
  }

  /** Bytes of the request that the kernel has taken. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** Whether it is the instance that has to go on, not the source of the request's body. */
  get awaitsInstance(): boolean {
    return this.#unsent !== undefined || this.#request !== "under way";
  }

  /** How long the body is, if that is known. */
  get bodyLength(): number | undefined {
    const framing = this.#head?.framing;
    if (framing?.kind === "none") return 0;
    return framing?.kind === "length" ? framing.bytes : undefined;
  }

  /** Is called once, when the exchange is over; at once if it is. */
  onEnd(callback: () => void): void {
    if (this.#isOver) callback();
    else this.#onEnd.push(callback);
  }

  /** Sends bytes; `done` is called when the kernel has them all, or nobody wants them any more. */
  send(bytes: Uint8Array, done: () => void): void {
    const sent = this.#tryWrite(bytes);
    if (sent === bytes.length) done();
    else this.#unsent = { rest: bytes.subarray(sent), done };
  }

  /** The same as a promise. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.send(bytes, resolve);
    });
  }

  /**
   * Nothing of the request follows. @param half whether that has to be said by shutting our side
   * down, after which the stream serves no further request.
   */
  endRequest(half: boolean): void {
    if (half && this.isWritable) this.#stream.endWriting();
    this.#request = half ? "sent by half-close" : "sent";
  }

  /**
   * The next bytes of the body; undefined after the last. One reader at a time.
   * @throws whatever failed the exchange (as a rejection), after the bytes that came before.
   */
  read(): Promise<Uint8Array | undefined> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#unread -= chunk.length;
      if (this.#paused && this.#unread < pauseAtBytes) this.#resume();
      return Promise.resolve(chunk);
    }
    if (this.#error !== undefined) return Promise.reject(this.#error.cause);
    if (this.#isOver) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#pendingRead = { resolve, reject };
    });
  }

  /** All of the body, if it is here already; then nothing is left to read. */
  takeWhole(): Uint8Array | undefined {
    if (!this.#isOver || this.#error !== undefined) return undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#unread = 0;
    const [first = new Uint8Array()] = chunks;
    return chunks.length <= 1 ? first : Buffer.concat(chunks);
  }

  /** Ends the exchange with an error (the first one counts). @param isLate it took too long. */
  fail(error: unknown, isLate = false): void {
    if (this.#isOver) return;
    this.#error = { cause: error };
    this.#isLate = isLate;
    this.#finish(false);
    if (!this.#headTold) this.#listener.failed(error);
  }

  /** Ends the exchange: the rest of the answer is not wanted. */
  cancel(): void {
    this.#chunks = [];
    this.fail(
      new SessionError(`${this.what}: the answer has been cancelled`, this.#answer.hasBegun),
    );
  }

  /** For the stream: the kernel takes bytes again. */
  drained(): void {
    const unsent = this.#unsent;
    if (unsent === undefined) return;
    unsent.rest = unsent.rest.subarray(this.#tryWrite(unsent.rest));
    if (unsent.rest.length > 0) return;
    this.#unsent = undefined;
    unsent.done();
  }

  /** For the stream: bytes have come. */
  receive(chunk: Buffer): void {
    this.#read(() => this.#answer.push(chunk));
    // With what of the body has come with it.
    if (this.#head === undefined || this.#headTold || this.#error !== undefined) return;
    this.#headTold = true;
    this.#listener.answered(this.#head, this);
  }

  /** For the stream: the instance has ended it. */
  ended(): void {
    this.#isEnded = true;
    this.#read(() => this.#answer.ended());
  }

  #read(act: () => void): void {
    try {
      act();
    } catch (cause) {
      if (!(cause instanceof ProtocolError)) throw cause;
      const text = `${this.what}: ${cause.message}`;
      const Failure = this.#stream.isUnread ? UnreadRequestError : SessionError;
      this.fail(new Failure(text, this.answerBegan, { cause }));
    }
  }

  /** For the reader: nobody asked for interim heads. */
  interim(): void {}

  /** For the reader: what follows ends with the stream. */
  switched(head: AnswerHead): void {
    this.head(head);
  }

  /** For the reader. */
  head(head: AnswerHead): void {
    this.#head = head;
  }

  /** For the reader. */
  body(bytes: Uint8Array): void {
    const read = this.#pendingRead;
    if (read !== undefined) {
      this.#pendingRead = undefined;
      read.resolve(bytes);
      return;
    }
    this.#chunks.push(bytes);
    this.#unread += bytes.length;
    if (this.#unread < pauseAtBytes || this.#paused) return;
    this.#paused = true;
    this.#stream.pause();
  }

  /** For the reader: the answer is whole. */
  end(isClean: boolean): void {
    this.#finish(isClean);
  }

  #tryWrite(bytes: Uint8Array): number {
    // -1: it is closed; the request's rest is of no use to anyone.
    const sent = this.isWritable ? this.#stream.write(bytes) : -1;
    if (sent < 0) return bytes.length;
    this.#sentBytes += sent;
    return sent;
  }

  #resume(): void {
    this.#paused = false;
    if (!this.#isOver) this.#stream.resume();
  }

  /** @param isClean whether the stream is where the next answer would begin. */
  #finish(isClean: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#paused) this.#stream.resume();
    if (this.#error === undefined || this.#isEnded) {
      this.#stream.release(isClean && this.#request === "sent");
    } else {
      this.#stream.abandon(this.#listener.request, this.#isLate);
    }
    this.#unsent?.done();
    this.#unsent = undefined;
    const read = this.#pendingRead;
    this.#pendingRead = undefined;
    if (this.#error === undefined) read?.resolve(undefined);
    else read?.reject(this.#error.cause);
    for (const callback of this.#onEnd) callback();
  }
}
