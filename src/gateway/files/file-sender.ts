/**
 * Sends a part of a file on a visitor's socket, as fast as it is taken: by the kernel where the
 * connection is plain (sendfile(2)), else by reading and writing.
 *
 * Rules: a call sends no more than its share, so that one fast visitor does not keep the others
 * waiting. Bun tells that a socket takes bytes again only after a write of its own was cut short:
 * so a socket that sendfile has found full is written to once more, with bytes that are read. What
 * is begun is `length` bytes or an error: a file that has become shorter must not look whole.
 */
import { readSync } from "node:fs";

import type { OwnedFd } from "../../native/owned-fd.ts";
import { sendFile } from "../../native/sendfile.ts";
import { causeText } from "../../wire/cause.ts";

/** A part of an open file. Whoever holds it closes `fd`. */
export interface FilePart {
  readonly fd: OwnedFd;
  /** In bytes, from the beginning of the file. */
  readonly offset: number;
  readonly length: number;
}

/** Where it goes: a socket of Bun's. */
export interface FileSink {
  readonly fd: number;
  /** @returns bytes taken, negative: it is closed. */
  write(bytes: Uint8Array): number;
}

/** What one call sends at most: some tenths of a millisecond of copying. */
const shareBytes = 1024 * 1024;
const readBytes = 64 * 1024;
/** After sendfile found the socket full: small, since most of it is read in vain. */
const probeBytes = 4 * 1024;

/** One for the worker: what is read is written in the same call. */
const scratch = Buffer.alloc(readBytes);

export class FileSender {
  readonly #part: FilePart;
  /** Whether the kernel may write to the socket itself. */
  #isPlain: boolean;
  sentBytes = 0;

  /** Takes the part over. @param isPlain whether the connection has no TLS. */
  constructor(part: FilePart, isPlain: boolean) {
    this.#part = part;
    this.#isPlain = isPlain;
  }

  /**
   * Sends what goes now. @returns `done`; `drain`: again when the socket drains; `again`: soon,
   * when others had their turn. @throws Error when the file or the socket is gone: the connection
   * is to be reset.
   */
  send(sink: FileSink): "done" | "drain" | "again" {
    const until = Math.min(this.#part.length, this.sentBytes + shareBytes);
    while (this.sentBytes < until) {
      const wasFull = this.#isPlain && !this.#byKernel(sink, until);
      if (this.sentBytes >= until) break;
      if (this.#isPlain && !wasFull) continue;
      if (!this.#byHand(sink, Math.min(until - this.sentBytes, wasFull ? probeBytes : readBytes))) {
        return "drain";
      }
    }
    return this.sentBytes === this.#part.length ? "done" : "again";
  }

  /** Gives it up, or is over. */
  close(): void {
    this.#part.fd.close();
  }

  /** @returns whether the socket took some. */
  #byKernel(sink: FileSink, until: number): boolean {
    const { fd, offset } = this.#part;
    const sent = sendFile(sink.fd, fd.number, offset + this.sentBytes, until - this.sentBytes);
    if (sent === "unsupported") this.#isPlain = false;
    if (typeof sent !== "number") return false;
    if (sent === 0) throw this.#tooShort();
    this.sentBytes += sent;
    return true;
  }

  /** @returns whether the socket took all of it. */
  #byHand(sink: FileSink, length: number): boolean {
    const { fd, offset } = this.#part;
    let read: number;
    try {
      read = readSync(fd.number, scratch, 0, length, offset + this.sentBytes);
    } catch (cause) {
      throw new Error(`read the file that is sent: ${causeText(cause)}`, { cause });
    }
    if (read === 0) throw this.#tooShort();
    const written = sink.write(scratch.subarray(0, read));
    if (written < 0) throw new Error("send a file: the connection is closed");
    this.sentBytes += written;
    return written === read;
  }

  #tooShort(): Error {
    const { length } = this.#part;
    return new Error(
      `send a file: it ends ${length - this.sentBytes} of ${length} bytes too early`,
    );
  }
}
