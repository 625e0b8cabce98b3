/**
 * Where the bytes of a spool go, and how many of them there may be: pure, no I/O.
 *
 * Bytes go to memory as long as the spool's share of it and the worker's total have room, then to a
 * file. Order is memory, then file: while the file holds anything unread, what comes goes behind
 * it. One append goes to one place as a whole, so that one that is refused has changed nothing.
 */

/**
 * A spool may hold a part of the memory that is left: a quick body stays there, and the more of
 * them wait, the less each may have. Of 64 MiB it is 4 MiB for the first, 0.3 MiB each for 200.
 */
const shareOfFree = 16;

/** What all spools of a worker hold together, in bytes. */
export class SpoolAccount {
  readonly #maxMemoryBytes: number;
  readonly #maxDiskBytes: number;
  memoryBytes = 0;
  diskBytes = 0;

  constructor(maxMemoryBytes: number, maxDiskBytes: number) {
    this.#maxMemoryBytes = maxMemoryBytes;
    this.#maxDiskBytes = maxDiskBytes;
  }

  /** What one spool may hold in memory of what no other does. */
  get shareBytes(): number {
    return (this.#maxMemoryBytes - this.memoryBytes) / shareOfFree;
  }

  memoryFits(bytes: number): boolean {
    return this.memoryBytes + bytes <= this.#maxMemoryBytes;
  }

  diskFits(bytes: number): boolean {
    return this.diskBytes + bytes <= this.#maxDiskBytes;
  }
}

export interface SpoolLimits {
  /** What it may hold in memory however little is left for a share. */
  readonly memoryBytes: number;
  /** Most bytes appended in all; Infinity: as many as the worker's total allows. */
  readonly maxBytes: number;
}

/** A place for an append: memory, with so many new bytes of it, the file, or none: which limit. */
export type Placing =
  | { readonly to: "memory"; readonly newBytes: number }
  | { readonly to: "file" }
  | { readonly to: "limit" | "total" };

const toFile: Placing = { to: "file" };

/** The counts of one spool. */
export class SpoolLedger {
  readonly #limits: SpoolLimits;
  readonly #account: SpoolAccount;
  /** Memory held, used or not. */
  #memoryBytes = 0;
  /** Bytes in the file, read or not. */
  fileBytes = 0;
  appendedBytes = 0;

  constructor(limits: SpoolLimits, account: SpoolAccount) {
    this.#limits = limits;
    this.#account = account;
  }

  /**
   * Where `bytes` would go; changes nothing. @param roomBytes unused in the memory it holds.
   * @param minNewBytes what new memory has at least.
   */
  place(bytes: number, roomBytes: number, minNewBytes: number): Placing {
    if (this.appendedBytes + bytes > this.#limits.maxBytes) return { to: "limit" };
    if (this.fileBytes === 0) {
      const newBytes = bytes <= roomBytes ? 0 : Math.max(minNewBytes, bytes - roomBytes);
      const most = Math.max(this.#limits.memoryBytes, this.#account.shareBytes);
      if (this.#memoryBytes + newBytes <= most && this.#account.memoryFits(newBytes)) {
        return { to: "memory", newBytes };
      }
    }
    return this.#account.diskFits(bytes) ? toFile : { to: "total" };
  }

  tookMemory(bytes: number, newBytes: number): void {
    this.appendedBytes += bytes;
    this.#memoryBytes += newBytes;
    this.#account.memoryBytes += newBytes;
  }

  tookFile(bytes: number): void {
    this.appendedBytes += bytes;
    this.fileBytes += bytes;
    this.#account.diskBytes += bytes;
  }

  gaveMemory(bytes: number): void {
    this.#memoryBytes -= bytes;
    this.#account.memoryBytes -= bytes;
  }

  /** The file is gone. @returns its bytes, to be given back to the account when it is closed. */
  gaveFile(): number {
    const bytes = this.fileBytes;
    this.fileBytes = 0;
    return bytes;
  }
}
