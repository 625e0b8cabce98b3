/**
 * Writes whole lines to a log: stderr, or a file that can be reopened after it was rotated. Never
 * blocks and never throws: stderr may be a pipe that is read slowly or not at all, and its
 * O_NONBLOCK is not ours to set, so room is asked for first. Lines that find none wait, bounded;
 * those beyond the bound are counted, and mentioned when there is room again.
 */
import { canWrite, findBroken } from "../native/fd.ts";
import { openOwn } from "../native/own-file.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { writeSome } from "../native/pipe.ts";
import type { ByteString } from "../wire/bytes.ts";
import { RetryTimer } from "../native/retry-timer.ts";

const stderr = 2;

const lineEnd = Buffer.from("\n");

/** PIPE_BUF: what a pipe that reports room takes without waiting (pipe(7)). */
const pieceBytes = 4096;
/** What may wait: some seconds of what an application may write. */
const maxWaitingBytes = 4 * 1024 * 1024;

/** Tries of a pipe that takes no more: quick for a reader that is merely late. */
const firstRetryMs = 1;
const maxRetryMs = 50;

export class LineWriter {
  readonly #path: ByteString | undefined;
  #file: OwnedFd | undefined;
  /** Whole lines, but for the start of the first, which has gone out. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** Of the first. */
  #sentBytes = 0;
  #dropped = 0;
  /** The start of a line went out, and the rest never will. */
  #isCut = false;
  #isGathering = false;
  readonly #retry = new RetryTimer(() => this.#flush(), firstRetryMs, maxRetryMs);

  /** @param path to append to; undefined: stderr. @throws SyscallError: it cannot be opened. */
  constructor(path: ByteString | undefined) {
    this.#path = path;
    if (path !== undefined) this.#file = openOwn(path, "append");
  }

  /** A line with its line end. */
  write(line: string): void {
    this.#add(Buffer.from(line));
    this.#flush();
  }

  /** The same as bytes, written together with others of this turn of the event loop. */
  gather(line: Uint8Array): void {
    this.#add(line);
    if (this.#isGathering) return;
    this.#isGathering = true;
    setImmediate(() => {
      this.#isGathering = false;
      this.#flush();
    });
  }

  /** Writes what waits, if there is room for it within `limitMs`. */
  async close(limitMs: number): Promise<void> {
    const until = performance.now() + limitMs;
    for (;;) {
      this.#flush();
      if (this.#waiting.length === 0 || performance.now() >= until) return;
      await Bun.sleep(firstRetryMs);
    }
  }

  /** Opens the file anew under its name; keeps the old one when that fails. */
  reopen(): void {
    if (this.#path === undefined) return;
    try {
      const fresh = openOwn(this.#path, "append");
      this.#file?.close();
      this.#file = fresh;
    } catch {
      this.write(`(the log could not be reopened; this file stays in use)\n`);
    }
  }

  #add(line: Uint8Array): void {
    if (this.#waitingBytes + line.length > maxWaitingBytes) {
      this.#dropped += 1;
      return;
    }
    if (this.#dropped > 0) {
      const note = `(${this.#dropped} lines were dropped: the log took no more)\n`;
      this.#dropped = 0;
      this.#push(Buffer.from(note));
    }
    this.#push(line);
  }

  #push(line: Uint8Array): void {
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
  }

  #flush(): void {
    const fd = this.#file?.number ?? stderr;
    while (this.#waiting.length > 0) {
      let count: number;
      try {
        count = canWrite(fd) ? writeSome(fd, this.#piece()) : 0;
      } catch {
        return this.#drop(); // closed or full: there is nowhere to say so now
      }
      if (count === 0 && findBroken([fd]).length > 0) return this.#drop();
      if (count === 0) return this.#retry.arm();
      this.#retry.reset();
      this.#sent(count);
    }
  }

  /** What is written next: whole lines, or a part of one that is longer. */
  #piece(): Uint8Array {
    const parts: Uint8Array[] = this.#isCut ? [lineEnd] : [];
    let bytes = 0;
    for (const line of this.#waiting) {
      const rest = bytes === 0 ? line.subarray(this.#sentBytes) : line;
      if (bytes > 0 && bytes + rest.length > pieceBytes) break;
      parts.push(rest);
      bytes += rest.length;
    }
    return Buffer.concat(parts).subarray(0, pieceBytes);
  }

  #sent(count: number): void {
    let left = count - (this.#isCut ? lineEnd.length : 0);
    this.#isCut = false;
    this.#waitingBytes -= left;
    let whole = 0;
    for (const line of this.#waiting) {
      const rest = line.length - this.#sentBytes;
      if (left < rest) break;
      left -= rest;
      this.#sentBytes = 0;
      whole += 1;
    }
    this.#sentBytes += left;
    this.#waiting.splice(0, whole);
  }

  #drop(): void {
    this.#isCut ||= this.#sentBytes > 0;
    this.#dropped += this.#waiting.length;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#sentBytes = 0;
  }
}
