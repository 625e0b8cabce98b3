/**
 * A request's body on its way to an instance, in a spool. Rules:
 * - A buffered one is whole before an instance is asked for, so that a slow visitor holds none; it
 *   can be sent again.
 * - One that is passed on as it comes is bounded: `isFull` tells the visitor's connection to wait.
 * - Neither is ever more than it may be.
 */
import { requestMemoryBytes, Spool, type SpoolOptions } from "./spool.ts";

interface UploadOptions {
  /** 0: no limit. */
  readonly maxBytes: number;
  readonly isBuffered: boolean;
  readonly spool: Pick<SpoolOptions, "account" | "directory">;
}

export class Upload {
  readonly isBuffered: boolean;
  readonly #maxBytes: number;
  readonly #spool: Spool;
  #isWhole = false;

  constructor({ maxBytes, isBuffered, spool }: UploadOptions) {
    this.isBuffered = isBuffered;
    this.#maxBytes = maxBytes === 0 ? Number.POSITIVE_INFINITY : maxBytes;
    this.#spool = new Spool({
      ...spool,
      rewinds: isBuffered,
      memoryBytes: requestMemoryBytes,
      maxBytes: Number.POSITIVE_INFINITY,
    });
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Bytes that have come. */
  get length(): number {
    return this.#spool.appendedBytes;
  }

  /** Whether the visitor should wait until some of it is passed on. */
  get isFull(): boolean {
    return !this.isBuffered && this.#spool.unreadBytes >= requestMemoryBytes;
  }

  /** Takes the bytes over. @returns whether it is no more than it may be. @throws SpoolError. */
  add(bytes: Uint8Array): boolean {
    if (this.length + bytes.length > this.#maxBytes) return false;
    this.#spool.append(bytes, "ours");
    return true;
  }

  end(): void {
    this.#isWhole = true;
  }

  /** The next bytes to be sent, to be used before the next call; empty: there are none now. */
  peek(): Uint8Array {
    return this.#spool.peek();
  }

  /** Bytes that `peek` has shown are sent. */
  skip(bytes: number): void {
    this.#spool.skip(bytes);
  }

  /** Whether all of it is sent. */
  get isSent(): boolean {
    return this.#isWhole && this.#spool.unreadBytes === 0;
  }

  /** From its beginning again. */
  rewind(): void {
    this.#spool.rewind();
  }

  close(): void {
    this.#spool.close();
  }
}
