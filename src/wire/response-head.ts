/**
 * The head of an instance's answer, in CGI form (RFC 3875, 6): header lines up to an empty one,
 * each ended by CRLF or LF, one of them perhaps `Status: 200 OK`. A pull parser: push what arrives
 * until it answers with the head; the rest of that chunk is the start of the body. Strict where
 * leniency lets an application smuggle: names are tokens, no folded lines, no bare CR, no NUL.
 * Without Status it is 200, or 302 with a Location.
 */

import { asBuffer, escapeForLog, fromBytes, type ByteString } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";
import type { Header } from "./session-headers.ts";

/** Bounds of a head: servers and proxies commonly stop at 8 to 64 KiB and 100 to 200 headers. */
export const MAX_HEAD_BYTES = 128 * 1024;
const MAX_HEAD_HEADERS = 1_000;

export interface ResponseHead {
  /** 100 to 999. */
  readonly status: number;
  /** The text after the number in Status; empty if there was none. */
  readonly reason: ByteString;
  /** In order, repetitions kept, names as sent; without Status. */
  readonly headers: readonly Header[];
}

const LF = 0x0a;
const CR = 0x0d;
const NOTHING = Buffer.alloc(0);
// RFC 9110, 5.6.2 (token) and 5.5 (field values: no control characters but the tab).
const HEADER_LINE =
  // oxlint-disable-next-line no-control-regex -- they are what it refuses
  /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)$/;
const STATUS_VALUE = /^([1-9][0-9][0-9])(?: (.*))?$/;

export class ResponseHeadParser {
  /** The head so far is #data[0, #length): the first chunk itself while it is the only one. */
  #data: Buffer = NOTHING;
  #length = 0;
  /** Where the line that is not whole yet begins, and how far it has been searched for its end. */
  #line = 0;
  #searched = 0;
  #done = false;

  /**
   * Takes the next bytes. Once the head is whole: the head and a view of the bytes after it in
   * `chunk`; undefined before that. After the head the parser is used up.
   */
  push(chunk: Uint8Array): { head: ResponseHead; body: Uint8Array } | undefined {
    if (this.#done) throw new Error("parse answer head: it has been parsed already");
    const before = this.#length;
    if (before === 0) {
      this.#data = asBuffer(chunk);
      this.#length = chunk.length;
    } else {
      this.#append(chunk);
    }
    const end = this.#findEnd();
    if (end === undefined) {
      // The caller may reuse the chunk from now on.
      if (before === 0) this.#data = Buffer.from(this.#data);
      return undefined;
    }
    const head = parseHead(fromBytes(this.#data, 0, this.#line));
    this.#done = true;
    this.#data = NOTHING;
    return { head, body: chunk.subarray(end - before) };
  }

  /** The error of an answer that ends here: the instance closed before its head was whole. */
  endedEarly(): ProtocolError {
    const bytes = this.#length;
    return new ProtocolError(
      bytes === 0
        ? "answer of the instance: it closed without one"
        : `answer of the instance: it ended inside its head, after ${bytes} bytes`,
    );
  }

  /** Adds a chunk, doubling the store, so that an answer byte by byte stays linear. */
  #append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#data.length) {
      const store = Buffer.allocUnsafeSlow(2 * length);
      this.#data.copy(store, 0, 0, this.#length);
      this.#data = store;
    }
    this.#data.set(chunk, this.#length);
    this.#length = length;
  }

  /** The offset after the empty line, if it is there. */
  #findEnd(): number | undefined {
    const whole = this.#data.length === this.#length;
    const data = whole ? this.#data : this.#data.subarray(0, this.#length);
    for (;;) {
      const lf = data.indexOf(LF, this.#searched);
      const reached = lf < 0 ? this.#length : lf + 1;
      if (reached > MAX_HEAD_BYTES) {
        throw new ProtocolError(`answer of the instance: its head exceeds ${MAX_HEAD_BYTES} bytes`);
      }
      this.#searched = reached;
      if (lf < 0) return undefined;
      const length = lf - this.#line;
      if (length === 0 || (length === 1 && this.#data[this.#line] === CR)) return reached;
      this.#line = reached;
    }
  }
}

/** `text`: the header lines, each with its line end. */
function parseHead(text: ByteString): ResponseHead {
  const lines = text.split("\n");
  lines.pop(); // what follows the last line end: nothing
  if (lines.length === 0) throw new ProtocolError("answer of the instance: it has no header");
  if (lines.length > MAX_HEAD_HEADERS) {
    throw new ProtocolError(
      `answer of the instance: ${lines.length} headers, ${MAX_HEAD_HEADERS} at most`,
    );
  }
  let status: { status: number; reason: ByteString } | undefined;
  let hasLocation = false;
  const headers: Header[] = [];
  for (const line of lines) {
    const header = parseLine((line.endsWith("\r") ? line.slice(0, -1) : line) as ByteString);
    const name = header[0].toLowerCase();
    if (name === "status") {
      if (status !== undefined) throw new ProtocolError("answer of the instance: two Status lines");
      status = parseStatus(header[1]);
      continue;
    }
    hasLocation ||= name === "location";
    headers.push(header);
  }
  status ??= { status: hasLocation ? 302 : 200, reason: "" as ByteString };
  return { ...status, headers };
}

function parseLine(line: ByteString): Header {
  const match = HEADER_LINE.exec(line);
  if (match === null) {
    throw new ProtocolError(`answer of the instance: '${escapeForLog(line, 80)}' is no header`);
  }
  const [, name = "", value = ""] = match;
  return [name as ByteString, trimEnd(value)];
}

/**
 * Without trailing spaces and tabs. Not String.trimEnd: to it the byte A0, a part of `à`, is space.
 */
function trimEnd(value: string): ByteString {
  let end = value.length;
  while (end > 0 && (value[end - 1] === " " || value[end - 1] === "\t")) end--;
  return value.slice(0, end) as ByteString;
}

function parseStatus(value: ByteString): { status: number; reason: ByteString } {
  const match = STATUS_VALUE.exec(value);
  if (match === null) {
    throw new ProtocolError(
      `answer of the instance: Status is '${escapeForLog(value, 80)}', not a number and a text`,
    );
  }
  const [, number = "", reason = ""] = match;
  return { status: Number(number), reason: reason as ByteString };
}
