/**
 * A request's body on its way to an instance. Rules:
 * - A buffered one is whole before an instance is asked for, so that a slow visitor holds none; it
 *   can be sent again. What came in one piece is kept as it came, more in a spool.
 * - One that is passed on as it comes is bounded: `isFull` tells the visitor's connection to wait.
 * - Neither is ever more than it may be.
 */
import { requestMemoryBytes, Spool, type SpoolOptions } from "./spool.ts";

export interface UploadOptions {
  /** 0: no limit. */
  readonly maxBytes: number;
  readonly isBuffered: boolean;
  readonly spool: Omit<SpoolOptions, "rewinds" | "memoryBytes" | "maxBytes">;
}

const nothing = new Uint8Array(0);

export class Upload {
  readonly isBuffered: boolean;
  readonly #options: UploadOptions;
  /** The only piece, or those that wait to be passed on. */
  #pieces: Uint8Array[] = [];
  #spool: Spool | undefined;
  /** Bytes of #pieces that have been sent. */
  #skipped = 0;
  #isWhole = false;
  #bytes = 0;
  /** Of one that is passed on: bytes that are sent. */
  #sentBytes = 0;
  /** Of a piece that is kept as it came: bytes of the worker's memory for bodies. */
  #keptBytes = 0;

  constructor(options: UploadOptions) {
    this.#options = options;
    this.isBuffered = options.isBuffered;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Bytes that have come. */
  get length(): number {
    return this.#bytes;
  }

  /** Whether the visitor should wait until some of it is passed on. */
  get isFull(): boolean {
    return !this.isBuffered && this.#bytes - this.#sentBytes >= requestMemoryBytes;
  }

  /** @returns whether it is no more than it may be. @throws SpoolError. */
  add(bytes: Uint8Array): boolean {
    const { maxBytes } = this.#options;
    this.#bytes += bytes.length;
    if (maxBytes > 0 && this.#bytes > maxBytes) return false;
    if (!this.isBuffered || this.#keeps(bytes)) this.#pieces.push(bytes);
    else this.#store(bytes);
    return true;
  }

  end(): void {
    this.#isWhole = true;
  }

  /** The next bytes to be sent, to be used before the next call; empty: there are none now. */
  peek(): Uint8Array {
    if (this.#spool !== undefined) return this.#spool.peek();
    const [first = nothing] = this.#pieces;
    return this.#skipped === 0 ? first : first.subarray(this.#skipped);
  }

  /** Bytes that `peek` has shown are sent. */
  skip(bytes: number): void {
    if (this.#spool !== undefined) return this.#spool.skip(bytes);
    this.#skipped += bytes;
    this.#sentBytes += bytes;
    const [first] = this.#pieces;
    if (this.isBuffered || first === undefined || this.#skipped < first.length) return;
    this.#pieces.shift();
    this.#skipped = 0;
  }

  /** Whether all of it is sent. */
  get isSent(): boolean {
    if (!this.#isWhole) return false;
    if (this.#spool !== undefined) return this.#spool.unreadBytes === 0;
    return this.isBuffered ? this.#skipped === this.#bytes : this.#pieces.length === 0;
  }

  /** From its beginning again. */
  rewind(): void {
    this.#spool?.rewind();
    this.#skipped = 0;
  }

  close(): void {
    this.#spool?.close();
    this.#spool = undefined;
    this.#pieces = [];
    this.#keep(0);
  }

  /** A first piece stays as it came, if it is a small one. @returns whether it does. */
  #keeps({ length }: Uint8Array): boolean {
    const isFirst = this.#spool === undefined && this.#pieces.length === 0;
    const { account } = this.#options.spool;
    if (!isFirst || length > requestMemoryBytes || !account.memoryFits(length)) return false;
    this.#keep(length);
    return true;
  }

  #keep(bytes: number): void {
    this.#options.spool.account.addMemory(bytes - this.#keptBytes);
    this.#keptBytes = bytes;
  }

  #store(bytes: Uint8Array): void {
    if (this.#spool === undefined) {
      this.#spool = new Spool({
        ...this.#options.spool,
        rewinds: true,
        memoryBytes: requestMemoryBytes,
        maxBytes: Number.POSITIVE_INFINITY,
      });
      this.#keep(0);
      for (const piece of this.#pieces.splice(0)) this.#spool.append(piece);
    }
    this.#spool.append(bytes);
  }
}
