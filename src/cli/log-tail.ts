/**
 * Reads the end of a log file, and goes on with what is written to it: across its rotation (the old
 * file to its end, then the new one) and its truncation. Where there is no file yet, there are no
 * lines yet.
 */
import { fstatSync, readSync, statSync } from "node:fs";

import { errnos, orUndefined } from "../native/errno.ts";
import { identityOf } from "../native/fd.ts";
import { openOwn } from "../native/own-file.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { fromBytes, fromText, type ByteString } from "../wire/bytes.ts";

const newline = 0x0a;
const pieceBytes = 64 * 1024;
/** The last lines are looked for in so much of the file. */
const maxTailBytes = 16 * 1024 * 1024;

export class LogTail implements Disposable {
  readonly #path: string;
  #file: OwnedFd | undefined;
  #offset = 0;
  /** A line whose end is still to come. */
  #rest = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  /** The last so many lines; `more` goes on after them. @throws SyscallError, ForeignLinkError. */
  last(count: number): ByteString[] {
    this.#file = openIfThere(this.#path);
    if (this.#file === undefined) return [];
    const { size } = fstatSync(this.#file.number);
    const least = Math.max(0, size - maxTailBytes);
    let start = size;
    let found = 0;
    // One line end more than lines: that before the first of them.
    while (start > least && found <= count) {
      const from = Math.max(least, start - pieceBytes);
      found += linesIn(this.#read(from, start - from));
      start = from;
    }
    this.#offset = start;
    const lines = this.#take(size - start);
    return count === 0 ? [] : lines.slice(-count);
  }

  /** What has been written since. @throws as `last`. */
  more(): ByteString[] {
    const lines = this.#takeNew();
    if (this.#isCurrent()) return lines;
    this.#file?.close();
    this.#file = openIfThere(this.#path);
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
    return [...lines, ...this.#takeNew()];
  }

  [Symbol.dispose](): void {
    this.#file?.close();
  }

  /** Whether the name still means the file that is open, or nothing. */
  #isCurrent(): boolean {
    const named = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    if (named === undefined) return true;
    return (
      this.#file !== undefined && identityOf(this.#file.number) === `${named.dev}:${named.ino}`
    );
  }

  #takeNew(): ByteString[] {
    if (this.#file === undefined) return [];
    const { size } = fstatSync(this.#file.number);
    if (size < this.#offset) this.#offset = 0; // It was truncated.
    return this.#take(size - this.#offset);
  }

  #take(bytes: number): ByteString[] {
    const lines: ByteString[] = [];
    for (let left = bytes; left > 0;) {
      const piece = this.#read(this.#offset, Math.min(left, pieceBytes));
      if (piece.length === 0) break;
      this.#offset += piece.length;
      left -= piece.length;
      let data = Buffer.concat([this.#rest, piece]);
      for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline)) {
        lines.push(fromBytes(data, 0, end));
        data = data.subarray(end + 1);
      }
      this.#rest = data;
    }
    return lines;
  }

  #read(from: number, length: number): Buffer {
    const piece = Buffer.alloc(length);
    const count = readSync(this.#file?.number ?? -1, piece, 0, length, from);
    return piece.subarray(0, count);
  }
}

function openIfThere(path: string): OwnedFd | undefined {
  return orUndefined(() => openOwn(fromText(path), "read"), errnos.ENOENT);
}

function linesIn(piece: Buffer): number {
  let count = 0;
  for (let at = piece.indexOf(newline); at >= 0; at = piece.indexOf(newline, at + 1)) count += 1;
  return count;
}
