/**
 * A request's body on its way to an instance: a spool. Rules:
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

export class Upload extends Spool {
  readonly isBuffered: boolean;
  readonly #maxBytes: number;
  #isWhole = false;

  constructor({ maxBytes, isBuffered, spool }: UploadOptions) {
    super({
      ...spool,
      rewinds: isBuffered,
      memoryBytes: requestMemoryBytes,
      maxBytes: Number.POSITIVE_INFINITY,
    });
    this.isBuffered = isBuffered;
    this.#maxBytes = maxBytes === 0 ? Number.POSITIVE_INFINITY : maxBytes;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Whether the visitor should wait until some of it is passed on. */
  get isFull(): boolean {
    return !this.isBuffered && this.unreadBytes >= requestMemoryBytes;
  }

  /** Takes the bytes over. @returns whether it is no more than it may be. @throws SpoolError. */
  add(bytes: Uint8Array): boolean {
    if (this.appendedBytes + bytes.length > this.#maxBytes) return false;
    this.append(bytes, "ours");
    return true;
  }

  end(): void {
    this.#isWhole = true;
  }

  get isSent(): boolean {
    return this.#isWhole && this.unreadBytes === 0;
  }
}
