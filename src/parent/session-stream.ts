/**
 * SessionStream: the stream of one session on Bun's event loop, with at most one request on it.
 * Rules:
 * - Who has the request (asking.ts) is told of all that happens to the stream. Without a request
 *   nothing may arrive: bytes nobody asked for, or the instance's end, close the stream.
 * - When a request has ended cleanly and the stream has a keeper, it is offered to that for the
 *   next one; else it is closed.
 * - Closing it closes the session, once: the pool is told.
 */
import type { Socket } from "bun";
import { fdOf, putOnEventLoop } from "../native/event-loop.ts";
import { acknowledge } from "../native/loopback.ts";
import type { Session } from "./session.ts";

/** The request on a stream: hears of what happens there. */
export interface StreamUser {
  /** Bytes have come; they are the user's to keep. */
  receive(chunk: Buffer): void;
  /** The kernel takes bytes again. */
  drained(): void;
  /** The instance has ended it. */
  ended(): void;
}

/** Who takes streams back for the next request. */
export interface StreamKeeper {
  /** The stream has served a request and could serve another. */
  freed(stream: SessionStream): void;
  /** The stream is closed, for whatever reason. */
  closed(stream: SessionStream): void;
}

/** How long one is kept without a request (PROTOCOL section 11). */
export const keptMs = 100;

/**
 * Instances of the server's own spawner read at least as much at a time (PROTOCOL section 11): a
 * request of no more that went out in one write is read whole, or not at all.
 */
const readAtOnceBytes = 16 * 1024;

export class SessionStream {
  readonly session: Session;
  /** Requests that have been answered on it. */
  served = 0;
  /** Those of them that the pool knows of. */
  #told = 0;
  /** The pool has asked for the session back: it takes no further request. */
  isRecalled = false;
  /** Since when it has had nothing to do, by performance.now(). */
  idleSinceMs = 0;
  #keeper: StreamKeeper | undefined;
  readonly #maxUntold: number;
  /**
   * Whether what is sent on it says where it ends, by length or in chunks; else its end is that of
   * the stream, and a body that breaks off looks whole. Not a matter of whether it is kept: that it
   * is recalled must change no request.
   */
  readonly isFramed: boolean;
  #socket: Socket<SessionStream> | undefined;
  #user: StreamUser | undefined;
  /** Of the request at hand: writes, and bytes that the kernel took. */
  #writes = 0;
  #takenBytes = 0;
  /** Whether the instance may still be at the rest of an earlier body, which nobody has read. */
  #mayHoldRest = false;
  /** It was ended with bytes of ours unread (unix(7)). */
  #isReset = false;
  #isClosed = false;

  static readonly #handlers = {
    // Before the first data, and before the promise of the socket is settled.
    open: (socket: Socket<SessionStream>) => socket.data.#opened(socket),
    data: (socket: Socket<SessionStream>, chunk: Buffer) => socket.data.#received(chunk),
    drain: (socket: Socket<SessionStream>) => socket.data.#user?.drained(),
    end: (socket: Socket<SessionStream>) => socket.data.#ended(),
    // Without `end` before it: a reset, or an EOF after our own side was shut down.
    close: (socket: Socket<SessionStream>, error?: Error) => socket.data.#ended(error),
    error: () => {},
  };

  /**
   * Takes the session over.
   * @param isKept whether it may serve further requests, which the keeper then has for it.
   * @param maxUntold of them, requests that the pool need not know of: see Application.
   */
  constructor(session: Session, keeper?: StreamKeeper, isKept = false, maxUntold = Infinity) {
    this.session = session;
    this.#keeper = keeper;
    this.isFramed = isKept;
    this.#maxUntold = maxUntold;
  }

  /**
   * Puts the stream on the event loop, once. @throws SyscallError, Error (as rejections), with
   * stream and session closed.
   */
  async open(): Promise<void> {
    try {
      const options = { data: this, socket: SessionStream.#handlers, allowHalfOpen: true };
      await putOnEventLoop(this.session.fd, options);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get id(): number {
    return this.session.id;
  }

  /** Whether it can take a request. */
  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** Whether it may serve another request after the one at hand. */
  get isKept(): boolean {
    return this.isFramed && !this.isRecalled;
  }

  /** From now on the user is told of what happens. */
  begin(user: StreamUser): void {
    if (this.#user !== undefined) throw new Error("session stream: it has a request already");
    this.#user = user;
    this.#mayHoldRest ||= !this.#fitsOneRead;
    this.#writes = 0;
    this.#takenBytes = 0;
    // A stream that was closed before: the user has to hear of it, after its caller.
    if (this.#isClosed) queueMicrotask(() => user.ended());
  }

  /** @returns how many bytes the kernel took; -1: the stream is closed. */
  write(bytes: Uint8Array): number {
    this.#writes += 1;
    const taken = this.#isClosed ? -1 : (this.#socket?.write(bytes) ?? -1);
    if (taken > 0) this.#takenBytes += taken;
    return taken;
  }

  /** Whether the instance, which has ended the stream, cannot have read any of the request. */
  get isUnread(): boolean {
    if (this.#takenBytes === 0) return true;
    const isReadWhole = this.#fitsOneRead && !this.#mayHoldRest;
    return this.#isReset && isReadWhole && this.isFramed && !this.session.speaksHttp;
  }

  /** Whether the end of the stream is none of an answer: a program, which frames it itself. */
  get isBroken(): boolean {
    return this.#isReset && this.session.speaksHttp;
  }

  /** Whether one read takes all of the request at hand. */
  get #fitsOneRead(): boolean {
    return this.#writes <= 1 && this.#takenBytes <= readAtOnceBytes;
  }

  /** Shuts our side down: the instance sees the end of the request's body. */
  endWriting(): void {
    if (!this.#isClosed) this.#socket?.shutdown();
  }

  /** What has come is not the whole answer. */
  awaitMore(): void {
    // Instances of other kinds have Unix sockets.
    if (!this.session.speaksHttp || this.#socket === undefined || this.#isClosed) return;
    acknowledge(fdOf(this.#socket));
  }

  /** While paused neither bytes nor the end of the stream are seen. */
  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  /** The request is over. @param isClean whether the stream is fit for another one. */
  release(isClean: boolean): void {
    this.#user = undefined;
    this.served += 1;
    if (this.#isClosed) return;
    if (this.served - this.#told > this.#maxUntold) this.tell();
    // Programs may end, without a word, what they have not read to the end; loaders tell.
    const isTold = this.#writes === 1 || !this.session.speaksHttp;
    if (isClean && isTold && this.isKept) this.offer();
    else this.close();
  }

  /** Without a request: for whoever comes next. */
  offer(): void {
    this.#keeper?.freed(this);
  }

  /** From now on it is offered to somebody else. */
  keptBy(keeper: StreamKeeper): void {
    this.#keeper = keeper;
  }

  /** Tells the pool of requests it does not know of; a session that is not kept has one. */
  tell(): void {
    if (!this.isFramed || this.served === this.#told) return;
    this.session.served(this.served - this.#told);
    this.#told = this.served;
  }

  /** Closes stream and session. Safe to call twice. */
  close(): void {
    this.#close(() => this.session.close());
  }

  /** The same while the request is not over: see Session. */
  abandon(what: string, isOverdue: boolean): void {
    this.#user = undefined;
    this.served += 1;
    this.#close(() => this.session.abandon(what, isOverdue));
  }

  #close(endSession: () => void): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket?.close();
    this.tell();
    endSession();
    this.#keeper?.closed(this);
  }

  #opened(socket: Socket<SessionStream>): void {
    if (this.#isClosed) socket.close();
    else this.#socket = socket;
  }

  #received(chunk: Buffer): void {
    if (this.#user === undefined) this.close();
    else this.#user.receive(chunk);
  }

  #ended(error?: Error): void {
    this.#isReset = error !== undefined && "code" in error && error.code === "ECONNRESET";
    if (this.#user === undefined) this.close();
    else this.#user.ended();
  }
}
