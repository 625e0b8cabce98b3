/**
 * One session with one instance: a connected stream, and the duty to tell the pool when it is over.
 * Until then the pool counts the instance as busy.
 */
import type { OwnedFd } from "../native/owned-fd.ts";

export class Session implements Disposable {
  /** The instance's process. */
  readonly pid: number;
  /** The session's number on its connection, as the protocol counts. */
  readonly id: number;
  /**
   * The stream to the instance: blocking mode, close-on-exec. `fd.take()` moves it out (to
   * Bun.connect, to a child process); the session still has to be closed.
   */
  readonly fd: OwnedFd;
  #tellPool: ((id: number) => void) | undefined;

  constructor(pid: number, id: number, fd: OwnedFd, tellPool: (id: number) => void) {
    this.pid = pid;
    this.id = id;
    this.fd = fd;
    this.#tellPool = tellPool;
  }

  /** Whether `close` has been called. */
  get closed(): boolean {
    return this.#tellPool === undefined;
  }

  /**
   * Ends the session: closes the stream if it is still here, and tells the pool. Safe to call
   * twice.
   */
  close(): void {
    const tellPool = this.#tellPool;
    if (tellPool === undefined) return;
    this.#tellPool = undefined;
    this.fd.close();
    tellPool(this.id);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
