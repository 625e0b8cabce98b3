/**
 * OwnedFd: one descriptor, one owner. Whoever holds the OwnedFd closes it, once; `take()` moves the
 * descriptor out (to Bun, to another owner) and empties the slot. Using an empty slot is a
 * programmer's mistake and throws.
 */
import { libc } from "./libc.ts";

export class OwnedFd implements Disposable {
  #fd: number;

  /** Takes ownership of an open descriptor. */
  constructor(fd: number) {
    if (!Number.isInteger(fd) || fd < 0) throw new RangeError(`not a descriptor: ${fd}`);
    this.#fd = fd;
  }

  /** The descriptor, still owned here. @throws Error when it was moved out or closed. */
  get number(): number {
    if (this.#fd < 0) throw new Error("descriptor used after it was moved or closed");
    return this.#fd;
  }

  get open(): boolean {
    return this.#fd >= 0;
  }

  /** Moves the descriptor out: the caller owns it now. */
  take(): number {
    const fd = this.number;
    this.#fd = -1;
    return fd;
  }

  /** Closes what is held. Linux frees the number even when close(2) reports an error. */
  close(): void {
    if (this.#fd < 0) return;
    libc.close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
