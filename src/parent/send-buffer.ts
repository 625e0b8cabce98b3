/**
 * Commands on their way to the server. Those of one turn go out in one write: with a hundred
 * requests in flight a system call for each would cost more than everything else here. What the
 * kernel does not take at once waits for Bun's `drain`. Bun's own write serves, not libc's: a
 * client sends no descriptors, so no order is at stake, and nothing has to be retried by a timer.
 */
import type { Socket } from "bun";

/**
 * Unsent bytes a connection may hold. The server reads a command within microseconds; one that left
 * this much unread does not read at all.
 */
const maxUnsentBytes = 4 * 1024 * 1024;

export class SendBuffer {
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #scheduled = false;
  #full = false;
  readonly #overflow: () => void;
  readonly #maxBytes: number;

  /** @param overflow is called when the server has stopped reading and the bound is reached. */
  constructor(overflow: () => void, maxBytes = maxUnsentBytes) {
    this.#overflow = overflow;
    this.#maxBytes = maxBytes;
  }

  /** Queues a command; it goes out in this turn of the event loop. */
  push(frame: Uint8Array, socket: Pick<Socket, "write">): void {
    this.#frames.push(frame);
    this.#bytes += frame.length;
    if (this.#bytes > this.#maxBytes) this.#overflow();
    if (this.#scheduled || this.#full) return;
    this.#scheduled = true;
    queueMicrotask(() => this.flush(socket));
  }

  /** The socket takes bytes again. */
  drained(socket: Pick<Socket, "write">): void {
    this.#full = false;
    this.flush(socket);
  }

  /** Sends what is queued, as far as the kernel takes it. */
  flush(socket: Pick<Socket, "write">): void {
    this.#scheduled = false;
    const [first] = this.#frames;
    if (first === undefined || this.#full) return;
    const all = this.#frames.length === 1 ? first : Buffer.concat(this.#frames, this.#bytes);
    // -1: the socket is closed or closing; its `close` follows and settles everything.
    const sent = Math.max(0, socket.write(all));
    this.#full = sent < all.length;
    this.#frames = this.#full ? [all.subarray(sent)] : [];
    this.#bytes = all.length - sent;
  }
}
