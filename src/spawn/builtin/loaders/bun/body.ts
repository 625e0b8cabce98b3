/**
 * Where a request's body ends (PROTOCOL sections 5 and 11): after a length, with the last chunk, or
 * with the client's side of the session. Runs inside instances. Each reader takes bytes as they
 * come, hands the body's own to `sink`, and answers how many of them it used.
 */
import type { RequestHead } from "./request-head.ts";

/** The body's framing is broken: nothing after it can be understood. */
export class BadBody extends Error {
  override readonly name = "BadBody";
}

/** Takes bytes that are only lent: they are another's after the call. */
export type Sink = (bytes: Uint8Array) => void;

export interface BodyReader {
  readonly isWhole: boolean;
  /** Whether the client's end is the body's. */
  readonly isToTheEnd: boolean;
  /** @throws BadBody. */
  read(bytes: Buffer, sink: Sink): number;
}

/** A body of `length` bytes; Infinity: until the client ends its side. */
class PlainBody implements BodyReader {
  readonly isToTheEnd: boolean;
  #left: number;

  constructor(length: number) {
    this.#left = length;
    this.isToTheEnd = length === Infinity;
  }

  get isWhole(): boolean {
    return this.#left === 0;
  }

  read(bytes: Buffer, sink: Sink): number {
    const wanted = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes;
    this.#left -= wanted.length;
    sink(wanted);
    return wanted.length;
  }
}

/** The most bytes of a line that gives a chunk's size, and of all trailers, which are dropped. */
const maxLineBytes = 4 * 1024;
const maxTrailerBytes = 16 * 1024;

const LF = 0x0a;

/** A chunked body (RFC 9112, 7.1). */
class ChunkedBody implements BodyReader {
  readonly isToTheEnd = false;
  isWhole = false;
  #state: "size" | "data" | "end of data" | "trailers" = "size";
  /** Bytes of the present chunk still to come, its CRLF excluded. */
  #left = 0;
  #line = "";
  #trailerBytes = 0;

  read(bytes: Buffer, sink: Sink): number {
    let at = 0;
    while (at < bytes.length && !this.isWhole) {
      at += this.#state === "data" ? this.#readData(bytes, at, sink) : this.#readLine(bytes, at);
    }
    return at;
  }

  #readData(bytes: Buffer, at: number, sink: Sink): number {
    const wanted = bytes.subarray(at, at + this.#left);
    this.#left -= wanted.length;
    if (this.#left === 0) this.#state = "end of data";
    sink(wanted);
    return wanted.length;
  }

  #readLine(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(LF, at);
    const next = end < 0 ? bytes.length : end + 1;
    this.#line += bytes.toString("latin1", at, next);
    if (this.#line.length > maxLineBytes) throw new BadBody("a line between chunks is too long");
    if (end >= 0) {
      const line = this.#line;
      this.#line = "";
      if (!line.endsWith("\r\n")) throw new BadBody("a line lacks its CR");
      this.#takeLine(line.slice(0, -2));
    }
    return next - at;
  }

  #takeLine(line: string): void {
    if (this.#state === "size") {
      const [, size] = /^([0-9a-fA-F]{1,12})[ \t]*(?:;|$)/.exec(line) ?? [];
      if (size === undefined) throw new BadBody("a chunk has no size");
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? "trailers" : "data";
    } else if (this.#state === "end of data") {
      if (line !== "") throw new BadBody("a chunk is longer than its size");
      this.#state = "size";
    } else {
      this.#trailerBytes += line.length;
      if (this.#trailerBytes > maxTrailerBytes) throw new BadBody("the trailers are too long");
      this.isWhole = line === "";
    }
  }
}

/** The reader for a request's body; undefined when none comes. */
export function bodyOf(head: RequestHead): BodyReader | undefined {
  if (head.isChunked) return new ChunkedBody();
  const { contentLength } = head;
  if (contentLength !== undefined) {
    return contentLength === 0 ? undefined : new PlainBody(contentLength);
  }
  // On a kept session a body must say where it ends; and a GET without a length has none.
  return head.isKept || !head.mayHaveBody ? undefined : new PlainBody(Infinity);
}
