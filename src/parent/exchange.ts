/**
 * Exchange: the stream of one session while a request is on it, on Bun's event loop. Rules:
 * - Whatever ends it (the answer is whole, cancelled, failed, the instance gone) goes through
 *   #finish, which closes the stream and the session, once.
 * - The instance may answer and close before it has read the request: its answer counts, what could
 *   not be written does not matter.
 * - Bytes nobody has read yet are bounded: above a mark the socket is paused. A paused socket
 *   reports neither data nor its end, so it is resumed as soon as the reader asks for more.
 * - EOF ends an answer without Content-Length; before the announced length it is an error.
 */
import type { Socket } from "bun";
import { ProtocolError } from "../wire/protocol-error.ts";
import { type ResponseHead, ResponseHeadParser } from "../wire/response-head.ts";
import { SessionError } from "./errors.ts";
import { putOnEventLoop } from "../native/event-loop.ts";
import type { Session } from "./session.ts";

/**
 * Unread bytes of an answer at which the socket is paused; Bun hands out up to 512 KiB at a time.
 */
const pauseAtBytes = 256 * 1024;

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export class Exchange {
  /** How error messages call it. */
  readonly what: string;
  readonly #session: Session;
  readonly #bodiless: boolean;
  readonly #parser = new ResponseHeadParser();
  readonly #head = Promise.withResolvers<ResponseHead>();
  #socket: Socket<Exchange> | undefined;
  #state: "head" | "body" | "done" = "head";
  #error: { readonly cause: unknown } | undefined;
  #answerBegan = false;
  /** Bytes of the body still to come; undefined: until EOF. */
  #missing: number | undefined;
  #chunks: Uint8Array[] = [];
  #unread = 0;
  #paused = false;
  #reader: Waiting<Uint8Array | undefined> | undefined;
  #writer: { rest: Uint8Array; readonly resolve: () => void } | undefined;
  readonly #onEnd: (() => void)[] = [];

  static readonly #handlers = {
    // Before the first data, and before the promise of the socket is settled.
    open: (socket: Socket<Exchange>) => socket.data.#opened(socket),
    data: (socket: Socket<Exchange>, chunk: Buffer) => socket.data.#receive(chunk),
    drain: (socket: Socket<Exchange>) => socket.data.#drained(),
    end: (socket: Socket<Exchange>) => socket.data.#ended(),
    // Without `end` before it: a reset, or an EOF after our own side was shut down.
    close: (socket: Socket<Exchange>) => socket.data.#ended(),
    error: () => {},
  };

  /** @param bodiless whether the answer has no body whatever its headers say (HEAD). */
  constructor(session: Session, bodiless: boolean) {
    this.#session = session;
    this.#bodiless = bodiless;
    this.what = `request to instance ${session.pid}`;
    // Whoever awaits the head sees its rejection; without anybody it is no crash.
    this.#head.promise.catch(() => {});
  }

  /** The head of the answer. */
  get head(): Promise<ResponseHead> {
    return this.#head.promise;
  }

  get answerBegan(): boolean {
    return this.#answerBegan;
  }

  /** Whether writing still has a purpose. */
  get isWritable(): boolean {
    return this.#state !== "done";
  }

  /** Is called once, when the exchange is over; at once if it is. */
  onEnd(callback: () => void): void {
    if (this.#state === "done") callback();
    else this.#onEnd.push(callback);
  }

  /** Puts the session's stream on the event loop. */
  async start(): Promise<void> {
    if (this.#state === "done") return;
    try {
      const options = { data: this, socket: Exchange.#handlers, allowHalfOpen: true };
      await putOnEventLoop(this.#session.fd, options);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Sends bytes; resolves when the kernel has them all, or nobody wants them any more. */
  async write(bytes: Uint8Array): Promise<void> {
    const rest = bytes.subarray(this.#tryWrite(bytes));
    if (rest.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#writer = { rest, resolve };
    });
  }

  /** Shuts our side of the stream down: the instance sees the end of the request's body. */
  endWriting(): void {
    if (this.isWritable) this.#socket?.shutdown();
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
    if (this.#state === "done") return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** All of the body, if it is here already; then nothing is left to read. */
  takeWhole(): Uint8Array | undefined {
    if (this.#state !== "done" || this.#error !== undefined) return undefined;
    const chunks = this.#chunks.splice(0);
    this.#unread = 0;
    const [first = new Uint8Array()] = chunks;
    return chunks.length <= 1 ? first : Buffer.concat(chunks);
  }

  /** Ends the exchange with an error (the first one counts). */
  fail(error: unknown): void {
    if (this.#state === "done") return;
    this.#error = { cause: error };
    this.#head.reject(error);
    this.#finish();
  }

  /** Ends the exchange: the rest of the answer is not wanted. */
  cancel(): void {
    this.#chunks = [];
    this.fail(new SessionError(`${this.what}: the answer has been cancelled`, this.#answerBegan));
  }

  #opened(socket: Socket<Exchange>): void {
    if (this.#state === "done") socket.close();
    else this.#socket = socket;
  }

  #tryWrite(bytes: Uint8Array): number {
    // No socket or -1: it is closed; the request's rest is of no use to anyone.
    const sent = this.isWritable ? (this.#socket?.write(bytes) ?? -1) : -1;
    return sent < 0 ? bytes.length : sent;
  }

  #drained(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    writer.rest = writer.rest.subarray(this.#tryWrite(writer.rest));
    if (writer.rest.length > 0) return;
    this.#writer = undefined;
    writer.resolve();
  }

  #receive(chunk: Buffer): void {
    this.#answerBegan = true;
    if (this.#state === "body") this.#receiveBody(chunk);
    if (this.#state !== "head") return;
    try {
      const parsed = this.#parser.push(chunk);
      if (parsed === undefined) return;
      this.#state = "body";
      this.#missing = this.#bodyLength(parsed.head);
      this.#receiveBody(parsed.body);
      this.#head.resolve(parsed.head);
    } catch (cause) {
      if (!(cause instanceof ProtocolError)) throw cause;
      this.fail(new SessionError(`${this.what}: ${cause.message}`, true, { cause }));
    }
  }

  #receiveBody(chunk: Uint8Array): void {
    const wanted = chunk.subarray(0, this.#missing);
    if (this.#missing !== undefined) this.#missing -= wanted.length;
    if (wanted.length > 0) this.#deliver(wanted);
    if (this.#missing === 0) this.#finish();
  }

  #deliver(chunk: Uint8Array): void {
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve(chunk);
      return;
    }
    this.#chunks.push(chunk);
    this.#unread += chunk.length;
    if (this.#unread < pauseAtBytes || this.#paused) return;
    this.#paused = true;
    this.#socket?.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#socket?.resume();
  }

  /** The instance has ended the stream. */
  #ended(): void {
    if (this.#state === "head") {
      const cause = this.#parser.endedEarly();
      const text = `${this.what}: ${cause.message}`;
      this.fail(new SessionError(text, this.#answerBegan, { cause }));
    } else if (this.#missing !== undefined && this.#missing > 0) {
      const text = `the answer ended ${this.#missing} bytes short of its Content-Length`;
      this.fail(new SessionError(`${this.what}: ${text}`, true));
    } else {
      this.#finish();
    }
  }

  /** How long the body will be; undefined: until EOF. @throws ProtocolError. */
  #bodyLength(head: ResponseHead): number | undefined {
    if (this.#bodiless || head.status === 204 || head.status === 304) return 0;
    let length: string | undefined;
    for (const [name, value] of head.headers) {
      if (name.length !== 14 || name.toLowerCase() !== "content-length") continue;
      if (!/^\d{1,15}$/.test(value) || (length !== undefined && length !== value)) {
        throw new ProtocolError("answer of the instance: its Content-Length is no length");
      }
      length = value;
    }
    return length === undefined ? undefined : Number(length);
  }

  #finish(): void {
    if (this.#state === "done") return;
    this.#state = "done";
    this.#socket?.close();
    this.#session.close();
    this.#writer?.resolve();
    this.#writer = undefined;
    const reader = this.#reader;
    this.#reader = undefined;
    if (this.#error === undefined) reader?.resolve(undefined);
    else reader?.reject(this.#error.cause);
    for (const callback of this.#onEnd) callback();
  }
}
