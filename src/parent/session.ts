/**
 * One session with one instance: a connected stream, and the duty to tell the pool when it is over.
 * Until then the pool counts the instance as busy.
 */
import type { OwnedFd } from "../native/owned-fd.ts";
import { cutBytes, fromText } from "../wire/bytes.ts";
import { type Command, MAX_REQUEST_BYTES } from "../wire/commands.ts";

/** What the pool is told of a session. */
export type SessionCommand = Extract<Command, { sessionId: number }>;

/** What else the pool has said of a session. */
interface SessionNature {
  readonly speaksHttp?: boolean | undefined;
  readonly instanceKey?: string | undefined;
}

export class Session implements Disposable {
  /** The instance's process. */
  readonly pid: number;
  /** The session's number on its connection, as the protocol counts. */
  readonly id: number;
  /** What leads to the same instance again; empty if that was not asked for. */
  readonly instanceKey: string;
  /**
   * The stream to the instance: blocking mode, close-on-exec. `fd.take()` moves it out (to
   * Bun.connect, to a child process); the session still has to be closed.
   */
  readonly fd: OwnedFd;
  /** Whether requests on it are plain HTTP/1.1 (PROTOCOL section 10, programs); else CGI heads. */
  readonly speaksHttp: boolean;
  #tellPool: ((command: SessionCommand) => void) | undefined;

  constructor(
    pid: number,
    id: number,
    fd: OwnedFd,
    tellPool: (command: SessionCommand) => void,
    { speaksHttp = false, instanceKey = "" }: SessionNature = {},
  ) {
    this.speaksHttp = speaksHttp;
    this.pid = pid;
    this.id = id;
    this.instanceKey = instanceKey;
    this.fd = fd;
    this.#tellPool = tellPool;
  }

  /** Whether `close` has been called. */
  get closed(): boolean {
    return this.#tellPool === undefined;
  }

  /** Ends the session: closes the stream if it is here, and tells the pool. Safe to call twice. */
  close(): void {
    this.#end({ kind: "close", sessionId: this.id });
  }

  /**
   * Ends the session although its request is not over: the pool gives the instance a time to be
   * done with it, or, if a limit of the request has passed already, none. Where instances do not
   * report that (those of a 2.0 spawn server), it is `close`.
   * @param what the request was, method and path, for the pool's log; it is cut to 300 bytes.
   */
  abandon(what: string, isOverdue = false): void {
    const kind = isOverdue ? "overdue" : "abandon";
    const shown = cutBytes(fromText(what.replaceAll("\0", "")), MAX_REQUEST_BYTES);
    this.#end({ kind, sessionId: this.id, what: shown });
  }

  /**
   * Tells the pool that the session is one that lasts, as after an upgrade: it keeps its instance
   * from being idle, but takes no place of those that the instance serves at once.
   */
  long(): void {
    this.#tellPool?.({ kind: "long", sessionId: this.id });
  }

  /** Tells the pool that a request takes long: its instance shows its stacks, if it can. */
  slow(): void {
    this.#tellPool?.({ kind: "slow", sessionId: this.id });
  }

  /** Tells the pool that so many more requests have been sent over it, if it is kept. */
  served(requests: number): void {
    this.#tellPool?.({ kind: "served", sessionId: this.id, requests });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #end(command: SessionCommand): void {
    const tellPool = this.#tellPool;
    if (tellPool === undefined) return;
    this.#tellPool = undefined;
    this.fd.close();
    tellPool(command);
  }
}
