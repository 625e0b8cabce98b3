/**
 * Writes whole lines to a log: stderr, or a file that can be reopened after it was rotated. Never
 * blocks and never throws: stderr may be a pipe nobody reads, and its O_NONBLOCK is not ours to
 * set, so room is asked for first. Lines that find none are counted and mentioned when there is
 * room again.
 */
import { canWrite } from "../native/fd.ts";
import { openOwn } from "../native/own-file.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { writeSome } from "../native/pipe.ts";
import type { ByteString } from "../wire/bytes.ts";

const stderr = 2;

/** PIPE_BUF: what a pipe that reports room takes without waiting (pipe(7)). */
const pieceBytes = 4096;

const lineEnd = Buffer.from("\n");

export class LineWriter {
  readonly #path: ByteString | undefined;
  #file: OwnedFd | undefined;
  #dropped = 0;
  /** The last line went out without its end. */
  #cut = false;

  /**
   * @param path a file to append to; undefined: stderr. @throws SyscallError,
   * ForeignLinkError when it cannot be opened.
   */
  constructor(path: ByteString | undefined) {
    this.#path = path;
    if (path !== undefined) this.#file = openOwn(path, "append");
  }

  /** A line with its line end. */
  write(line: string): void {
    this.writeBytes(Buffer.from(line));
  }

  /** The same, as bytes. */
  writeBytes(line: Uint8Array): void {
    if (this.#dropped > 0) {
      const note = Buffer.from(`(${this.#dropped} lines were dropped: the log took no more)\n`);
      if (!this.#attempt(note)) {
        this.#dropped += 1;
        return;
      }
      this.#dropped = 0;
    }
    if (!this.#attempt(line)) this.#dropped += 1;
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

  /** @returns whether the start of the line went out; a rest that finds no room is lost. */
  #attempt(line: Uint8Array): boolean {
    const fd = this.#file?.number ?? stderr;
    const bytes = this.#cut ? Buffer.concat([lineEnd, line]) : line;
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      try {
        if (!canWrite(fd)) return start > 0;
        writeSome(fd, bytes.subarray(start, start + pieceBytes));
      } catch {
        return start > 0; // closed, full or gone: there is nowhere left to say so
      }
      this.#cut = start + pieceBytes < bytes.length;
    }
    return true;
  }
}
