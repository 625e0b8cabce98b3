/**
 * Where a request's body ends (PROTOCOL sections 5 and 11): after a length, with the last chunk, or
 * with the client's side of the session; for the loaders of JavaScript. Runs inside instances. Each
 * reader takes bytes as they come, hands the body's own to `sink`, and answers how many it used.
 */
import type { Head } from "./head.ts";

/** The body's framing is broken: nothing after it can be understood. */
export class BadBody extends Error {}

export interface Body {
  readonly isWhole: boolean;
  /** Whether the client's end is the body's. */
  readonly isToTheEnd: boolean;
  /** @returns how many of the bytes were the body's. @throws BadBody. */
  read(bytes: Buffer, sink: (bytes: Uint8Array) => void): number;
}

/** A body of `length` bytes; Infinity: until the client ends its side. */
export class PlainBody implements Body {
  left: number;

  constructor(length: number) {
    this.left = length;
  }

  get isToTheEnd(): boolean {
    return this.left === Infinity;
  }

  /** It has ended so. */
  end(): void {
    this.left = 0;
  }

  get isWhole(): boolean {
    return this.left === 0;
  }

  read(bytes: Buffer, sink: (bytes: Uint8Array) => void): number {
    const wanted = bytes.length > this.left ? bytes.subarray(0, this.left) : bytes;
    this.left -= wanted.length;
    sink(wanted);
    return wanted.length;
  }
}

/** The most bytes of a line that gives a chunk's size, and of all trailers, which are dropped. */
const maxLineBytes = 4 * 1024;
const maxTrailerBytes = 16 * 1024;

const CR = 0x0d;
const LF = 0x0a;

/** A chunked body (RFC 9112, 7.1). */
export class ChunkedBody implements Body {
  readonly isToTheEnd = false;
  isWhole = false;
  /** Bytes of the present chunk still to come, its CRLF excluded. */
  #left = 0;
  #state: "size" | "data" | "end of data" | "trailers" = "size";
  #line = "";
  #trailerBytes = 0;

  read(bytes: Buffer, sink: (bytes: Uint8Array) => void): number {
    let at = 0;
    while (at < bytes.length && !this.isWhole) {
      at += this.#state === "data" ? this.#readData(bytes, at, sink) : this.#readLine(bytes, at);
    }
    return at;
  }

  #readData(bytes: Buffer, at: number, sink: (bytes: Uint8Array) => void): number {
    const wanted = bytes.subarray(at, at + this.#left);
    this.#left -= wanted.length;
    if (this.#left === 0) this.#state = "end of data";
    sink(wanted);
    return wanted.length;
  }

  #readLine(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(LF, at);
    const next = end < 0 ? bytes.length : end + 1;
    this.#line += bytes.latin1Slice(at, next);
    if (this.#line.length > maxLineBytes) throw new BadBody("a line between chunks is too long");
    if (end >= 0) {
      const line = this.#line;
      this.#line = "";
      if (line.charCodeAt(line.length - 2) !== CR) throw new BadBody("a line lacks its CR");
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

/** The reader for a request's body; undefined when it has none. */
export function bodyOf(
  head: Pick<Head, "isChunked" | "contentLength" | "isKept" | "method">,
): PlainBody | ChunkedBody | undefined {
  if (head.isChunked) return new ChunkedBody();
  if (head.contentLength !== undefined) {
    return head.contentLength === 0 ? undefined : new PlainBody(head.contentLength);
  }
  // On a kept session a body must say where it ends; and a GET without a length has none.
  const { method } = head;
  const hasNone = head.isKept || method === "GET" || method === "HEAD";
  return hasNone ? undefined : new PlainBody(Infinity);
}
