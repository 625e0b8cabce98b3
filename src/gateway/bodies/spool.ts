/**
 * A spool: bytes in, the same bytes out, for a body that comes faster than it is taken. As many as
 * the ledger allows are in memory, the rest is in a file without a name.
 *
 * Rules: appending and reading may alternate in any order. A file is written and read in calls of
 * at most 64 KiB, by position, on the event loop: on a local file system that is a copy to or from
 * the page cache (some 15 us), and the directory must not be on a network. An append that throws
 * has taken nothing, and what was taken before stays readable. Whoever holds a spool closes it.
 */
import { close, readSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";

import type { OwnedFd } from "../../native/owned-fd.ts";
import { openTemporary } from "../../native/temporary-file.ts";
import { fromText } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import { SpoolLedger, type SpoolAccount, type SpoolLimits } from "./spool-ledger.ts";

/** What may be in memory at any time: a form is one read, an answer a page with its scripts. */
export const requestMemoryBytes = 64 * 1024;
export const answerMemoryBytes = 256 * 1024;

/** A piece of this size is kept as it came: to copy it costs more than an object. */
const minKeptBytes = 16 * 1024;
/** Memory is taken in pieces of this size at least: single bytes cost no object each. */
const minBlockBytes = 4096;
/** Bytes of a file that one call moves. */
const fileStepBytes = 64 * 1024;
/** Freeing a file costs 0.1 ms a MiB: what is larger is closed in a thread of Bun's pool. */
const maxCloseHereBytes = 1024 * 1024;

/** One for the worker: what `peek` returns of a file is used before the next peek. */
const scratch = Buffer.alloc(fileStepBytes);
const nothing = new Uint8Array(0);

/** A spool takes or gives no more. */
export class SpoolError extends Error {
  override readonly name = "SpoolError";
}

export interface SpoolOptions extends SpoolLimits {
  /** Of the worker. */
  readonly account: SpoolAccount;
  /** Whether it can be read again from its beginning; then it gives nothing back before its end. */
  readonly rewinds: boolean;
  /** For its file, absolute; the system's (TMPDIR, else /tmp) if not given. */
  readonly directory?: string;
}

interface Block {
  readonly bytes: Uint8Array;
  used: number;
}

export class Spool {
  readonly #options: SpoolOptions;
  readonly #ledger: SpoolLedger;
  readonly #blocks: Block[] = [];
  #file: OwnedFd | undefined;
  /** Where reading is: a block and a position in it, then a position in the file. */
  #block = 0;
  #inBlock = 0;
  #inFile = 0;
  #readBytes = 0;
  #closed = false;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#ledger = new SpoolLedger(options, options.account);
  }

  get appendedBytes(): number {
    return this.#ledger.appendedBytes;
  }

  get unreadBytes(): number {
    return this.#ledger.appendedBytes - this.#readBytes;
  }

  /**
   * Takes all of the bytes. @param owner `ours`: nobody else uses them, so they may be kept as they
   * are, where that is not dearer than a copy. @throws SpoolError when none was taken.
   */
  append(bytes: Uint8Array, owner: "theirs" | "ours" = "theirs"): void {
    this.#mustBeOpen();
    if (bytes.length === 0) return;
    const last = this.#blocks.at(-1);
    // Small pieces would cost an object each, and may hold on to all that came with them.
    const others = bytes.buffer.byteLength - bytes.length;
    const keeps =
      owner === "ours" &&
      (last === undefined || bytes.length >= minKeptBytes) &&
      others <= Math.max(bytes.length, minKeptBytes);
    const room = last === undefined || keeps ? 0 : last.bytes.length - last.used;
    const placing = this.#ledger.place(bytes.length, room, keeps ? bytes.length : minBlockBytes);
    if (placing.to === "memory") {
      if (keeps) this.#blocks.push({ bytes, used: bytes.length });
      else this.#toMemory(bytes, room, placing.newBytes);
      this.#ledger.tookMemory(bytes.length, placing.newBytes);
    } else if (placing.to === "file") {
      this.#toFile(bytes);
      this.#ledger.tookFile(bytes.length);
    } else {
      const whose = placing.to === "limit" ? "its limit is" : "the worker's spools are";
      throw new SpoolError(`spool ${bytes.length} bytes: ${whose} reached`);
    }
  }

  /**
   * The next unread bytes, without moving on; empty: there are none now. To be used, or copied,
   * before the next `peek` of any spool. @throws SpoolError when the file cannot be read.
   */
  peek(): Uint8Array {
    this.#mustBeOpen();
    const block = this.#unreadBlock();
    if (block !== undefined) return block.bytes.subarray(this.#inBlock, block.used);
    const length = Math.min(fileStepBytes, this.#ledger.fileBytes - this.#inFile);
    if (length === 0 || this.#file === undefined) return nothing;
    return this.#fromFile(this.#file, length);
  }

  /** Moves on by bytes that the last `peek` has shown. */
  skip(bytes: number): void {
    if (bytes > this.unreadBytes) throw new RangeError(`skip ${bytes} bytes of a spool: too many`);
    if (bytes === 0) return;
    this.#readBytes += bytes;
    const block = this.#unreadBlock();
    if (block === undefined) {
      this.#inFile += bytes;
      if (!this.#options.rewinds && this.#inFile === this.#ledger.fileBytes) this.#dropFile();
      return;
    }
    this.#inBlock += bytes;
    if (this.#options.rewinds || this.#inBlock < block.used) return;
    this.#blocks.shift();
    this.#inBlock = 0;
    this.#ledger.gaveMemory(block.bytes.length);
  }

  /** Reads from the beginning again. */
  rewind(): void {
    if (!this.#options.rewinds) throw new Error("a spool that gives back what is read was rewound");
    this.#block = 0;
    this.#inBlock = 0;
    this.#inFile = 0;
    this.#readBytes = 0;
  }

  /** Gives everything back; further calls do nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { bytes } of this.#blocks.splice(0)) this.#ledger.gaveMemory(bytes.length);
    this.#dropFile();
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new Error("spool used after it was closed");
  }

  #toMemory(bytes: Uint8Array, roomBytes: number, newBytes: number): void {
    const last = this.#blocks.at(-1);
    const first = Math.min(roomBytes, bytes.length);
    if (last !== undefined && first > 0) {
      last.bytes.set(bytes.subarray(0, first), last.used);
      last.used += first;
    }
    if (newBytes === 0) return;
    // Not from Buffer's pool: a piece of that would keep all of it.
    const block = { bytes: Buffer.allocUnsafeSlow(newBytes), used: bytes.length - first };
    block.bytes.set(bytes.subarray(first));
    this.#blocks.push(block);
  }

  /** The block that holds the next bytes; undefined: the file does, or nothing. */
  #unreadBlock(): Block | undefined {
    for (;;) {
      const block = this.#blocks[this.#block];
      if (block === undefined || this.#inBlock < block.used) return block;
      // The last one may still be filled.
      if (this.#block === this.#blocks.length - 1) return undefined;
      this.#block += 1;
      this.#inBlock = 0;
    }
  }

  #toFile(bytes: Uint8Array): void {
    let written = 0;
    try {
      this.#file ??= openTemporary(fromText(this.#options.directory ?? tmpdir()));
      while (written < bytes.length) {
        const length = Math.min(fileStepBytes, bytes.length - written);
        const at = this.#ledger.fileBytes + written;
        written += writeSync(this.#file.number, bytes, written, length, at);
      }
    } catch (cause) {
      const directory = this.#options.directory ?? tmpdir();
      const text = `spool ${bytes.length} bytes to a file in ${directory}: ${causeText(cause)}`;
      throw new SpoolError(text, { cause });
    }
  }

  #fromFile(file: OwnedFd, length: number): Uint8Array {
    let read: number;
    try {
      read = readSync(file.number, scratch, 0, length, this.#inFile);
    } catch (cause) {
      throw new SpoolError(`read a spool's file: ${causeText(cause)}`, { cause });
    }
    if (read === 0) throw new SpoolError("read a spool's file: it has become shorter");
    return scratch.subarray(0, read);
  }

  #dropFile(): void {
    const bytes = this.#ledger.gaveFile();
    const { account } = this.#options;
    const file = this.#file;
    this.#file = undefined;
    this.#inFile = 0;
    if (file === undefined || bytes <= maxCloseHereBytes) {
      file?.close();
      account.diskBytes -= bytes;
      return;
    }
    // Its space is free, and its descriptor closed whatever is reported, when the thread is done.
    close(file.take(), () => (account.diskBytes -= bytes));
  }
}
