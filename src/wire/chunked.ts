/**
 * Bodies in chunks (RFC 9112, 7.1): each with its size in hexadecimal before it and a line end
 * after it, the last one of size 0, then trailers and an empty line. Instances that keep a session
 * frame with them what has no length (PROTOCOL section 11). Strict where two readers could disagree
 * on where a body ends: line ends are CRLF, a size is 1 to 13 digits and nothing else. Extensions
 * and trailers are read over, within bounds.
 */
import { type ByteString, escapeForLog, fromBytes } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";

/** The most bytes of a size line, and of all trailers. */
const maxLineBytes = 1024;
const maxTrailerBytes = 16 * 1024;

const tooLong = "a chunk of it is longer than announced";

const LF = 0x0a;
const lineEnd = "\r\n";
/** 13 hexadecimal digits are below 2^53; extensions follow a semicolon. */
const sizeLine = /^([0-9A-Fa-f]{1,13})(?:[ \t]*;[\t -~\x80-\xff]*)?$/;

/** RFC 9112, 7.1.2: a header like others. Else a request after a body could pass for one. */
// oxlint-disable-next-line no-control-regex -- they are what it refuses
const trailerLine = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*$/;

export const lastChunk: Uint8Array = Buffer.from("0\r\n\r\n");

type Part = "size" | "data" | "data end" | "trailer" | "done";

export class ChunkedDecoder {
  #part: Part = "size";
  /** Bytes of the chunk still to come. */
  #missing = 0;
  /** What has arrived of a line that is not whole. */
  #line = "";
  #trailerBytes = 0;

  /** Whether the last chunk and all that follows it has been read. */
  get isDone(): boolean {
    return this.#part === "done";
  }

  /**
   * Takes the next bytes and hands out what they hold of the body, as views.
   * @returns how many bytes were taken: all of them, unless the body has ended.
   * @throws ProtocolError.
   */
  push(data: Uint8Array, deliver: (part: Uint8Array) => void): number {
    let at = 0;
    while (at < data.length && this.#part !== "done") {
      if (this.#part === "data") {
        const part = data.subarray(at, at + this.#missing);
        at += part.length;
        this.#missing -= part.length;
        if (this.#missing === 0) this.#part = "data end";
        deliver(part);
      } else {
        at = this.#readLine(data, at);
      }
    }
    return at;
  }

  #readLine(data: Uint8Array, start: number): number {
    const found = data.indexOf(LF, start);
    const end = found < 0 ? data.length : found + 1;
    const limit = this.#part === "trailer" ? maxTrailerBytes : maxLineBytes;
    const length = this.#line.length + end - start;
    if (this.#part === "data end" && length > lineEnd.length) throw broken(tooLong);
    if (length > limit) throw broken("a line of it is too long");
    this.#line += fromBytes(data, start, end);
    if (this.#part === "data end" && !lineEnd.startsWith(this.#line)) throw broken(tooLong);
    if (found < 0) return end;
    const line = this.#line;
    this.#line = "";
    if (!line.endsWith(lineEnd)) throw broken("a line of it does not end with CRLF");
    this.#endLine(line.slice(0, -2));
    return end;
  }

  #endLine(line: string): void {
    if (this.#part === "data end") {
      this.#part = "size";
    } else if (this.#part === "size") {
      const size = sizeLine.exec(line)?.[1];
      if (size === undefined) {
        throw broken(`'${escapeForLog(line as ByteString, 40)}' is no chunk size`);
      }
      this.#missing = Number.parseInt(size, 16);
      this.#part = this.#missing === 0 ? "trailer" : "data";
    } else {
      this.#trailerBytes += line.length;
      if (line !== "" && !trailerLine.test(line)) throw broken("a trailer of it is no header");
      if (this.#trailerBytes > maxTrailerBytes) throw broken("its trailers are too long");
      if (line === "") this.#part = "done";
    }
  }
}

function broken(why: string): ProtocolError {
  return new ProtocolError(`body in chunks: ${why}`);
}
