/**
 * The head of an instance's answer on its way to a visitor, or a caller: in CGI form (`Status: 200
 * OK` somewhere among its lines, or none; RFC 3875, 6) or in HTTP's (`HTTP/1.1 200 OK` as its
 * first). Rules:
 * - What the application said arrives as it said it: lines in their order and spelling, repeated
 *   ones repeated, its reason, its length. Nothing is added here.
 * - What belongs to the connection with the instance ends here (RFC 9110, 7.6.1), also what its
 *   Connection header names; so does what frames the answer, but for a Content-Length that is true
 *   of what the visitor gets.
 * - What two readers could read in two ways is an error: names are tokens, no folded lines, no bare
 *   CR, one length, one coding. Lines may end in LF alone, as CGI allows.
 * The lines that stay are one slice of the text, as a rule.
 */
import { escapeForLog, type ByteString } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";
import type { FieldName, FieldNames } from "./field-names.ts";

/** Where the body of an answer ends. */
export type AnswerFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  /** With the stream. */
  | { readonly kind: "stream" };

export interface AnswerHead {
  /** 100 to 999. */
  readonly status: number;
  /** As the application gave it, else the registered one; may be empty. */
  readonly reason: string;
  /** Lines for the visitor, each with CRLF. */
  readonly lines: string;
  /** Of what comes from the instance. */
  readonly framing: AnswerFraming;
  readonly hasDate: boolean;
  /** The protocols that a 101 changes to; empty: none. */
  readonly upgrade: string;
  /** Of a head in HTTP's form: whether another answer may follow it (RFC 9112, 9.3). */
  readonly persists: boolean | undefined;
}

/** Bounds of a head: servers and proxies commonly stop at 8 to 64 KiB and 100 to 200 headers. */
export const maxAnswerHeadBytes = 128 * 1024;
const maxLines = 1000;

// oxlint-disable-next-line no-control-regex -- they are what it finds
const illegal = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)/;
const bareLineFeed = /(?<!\r)\n/;
const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([^\r]*))?$/;
const statusValue = /^([1-9]\d\d)(?: (.*))?$/;

const noBody: AnswerFraming = { kind: "none" };
const inChunks: AnswerFraming = { kind: "chunked" };
const untilEnd: AnswerFraming = { kind: "stream" };

/** Where a head ends in what has come: before its empty line and after it; undefined: not yet. */
export function endOfAnswerHead(text: string): { head: number; body: number } | undefined {
  if (text.startsWith("\r\n")) return { head: 0, body: 2 };
  if (text.startsWith("\n")) return { head: 0, body: 1 };
  const crlf = text.indexOf("\r\n\r\n");
  const head = crlf < 0 ? text : text.slice(0, crlf + 4);
  const lf = bareLineFeed.test(head) ? /\n\r?\n/.exec(head) : null;
  if (lf !== null) return { head: lf.index + 1, body: lf.index + lf[0].length };
  return crlf < 0 ? undefined : { head: crlf + 2, body: crlf + 4 };
}

/** What those who read answers have of their own. */
export interface AnswerHabits {
  /** Lines whose names mean `drop` do not stay. */
  readonly names: FieldNames;
  /** What stands for the reason of a status where the application gave none. */
  readonly reasonOf: (status: number) => string;
}

/**
 * @param text the lines, each with its line end, without the empty one. @param isHead whether the
 * request was a HEAD. @throws ProtocolError.
 */
export function parseAnswerHead(text: string, habits: AnswerHabits, isHead: boolean): AnswerHead {
  if (illegal.test(text)) throw unclear("its head holds a control character");
  const lines = bareLineFeed.test(text) ? text.replace(/\r?\n/g, "\r\n") : text;
  return new HeadReader(habits.names).read(lines, habits.reasonOf, isHead);
}

/** The headers that its lines are, in order and spelling. */
export function headersOf({ lines }: AnswerHead): [name: string, value: string][] {
  const all = lines.split("\r\n").slice(0, -1);
  return all.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "")];
  });
}

class HeadReader {
  readonly #names: FieldNames;
  /** Of HTTP/1.x, if the head is in that form. */
  #minor: string | undefined;
  #status: number | undefined;
  #reason: string | undefined;
  #length: string | undefined;
  #coding: string | undefined;
  #connection = "";
  #upgrade = "";
  #hasDate = false;
  #hasLocation = false;
  /** Whether a Content-Length may be among the lines that stay. */
  #lengthLine = "";

  constructor(names: FieldNames) {
    this.#names = names;
  }

  read(text: string, reasonOf: (status: number) => string, isHead: boolean): AnswerHead {
    const kept = this.#readLines(text);
    const status = this.#status ?? (this.#hasLocation ? 302 : 200);
    const framing = this.#framing(status, isHead);
    // 1xx and 204 may have none (RFC 9110, 8.6), and 205 a body of no bytes (15.3.6).
    const isWithout = status < 200 || status === 204 || status === 205;
    let lines = this.#connection === "" ? kept : withoutNamed(kept, this.#connection);
    if (this.#lengthLine !== "" && isWithout) lines = withoutLine(lines, this.#lengthLine);
    return {
      status,
      reason: this.#reason ?? reasonOf(status),
      lines,
      framing,
      hasDate: this.#hasDate,
      upgrade: this.#upgrade,
      persists: this.#persists,
    };
  }

  get #persists(): boolean | undefined {
    if (this.#minor === undefined) return undefined;
    const options = this.#connection.split(",").map((option) => option.trim());
    return !options.includes("close") && (this.#minor === "1" || options.includes("keep-alive"));
  }

  /** @returns the lines that stay, in as few slices as there are runs of them. */
  #readLines(text: string): string {
    let kept = "";
    let run = 0;
    let count = 0;
    for (let start = 0; start < text.length;) {
      const end = text.indexOf("\r\n", start);
      if (end < 0) throw unclear("a line of its head does not end");
      count += 1;
      if (count > maxLines) throw unclear(`it has more than ${maxLines} headers`);
      const stays =
        start === 0 && text.startsWith("HTTP/")
          ? this.#first(text.slice(0, end))
          : this.#line(text, start, end, count);
      if (!stays) {
        kept += text.slice(run, start);
        run = end + 2;
      }
      start = end + 2;
    }
    if (count === 0) throw unclear("it has no header");
    return run === 0 ? text : kept + text.slice(run);
  }

  #first(line: string): false {
    const match = statusLine.exec(line);
    if (match === null)
      throw unclear(`'${escapeForLog(line as ByteString, 80)}' is no status line`);
    this.#minor = match[1];
    this.#status = Number(match[2]);
    this.#reason = match[3] ?? "";
    return false;
  }

  /** @returns whether the line stays. */
  #line(text: string, start: number, end: number, place: number): boolean {
    const written = this.#names.findAt(text, start, end, place);
    if (written === undefined) {
      const line = escapeForLog(text.slice(start, end) as ByteString, 80);
      throw unclear(`'${line}' is no header`);
    }
    const { name } = written;
    if (name.role === "other") return name.meaning !== "drop";
    return this.#note(
      name,
      text.slice(start + written.text.length, end).replace(/^[ \t]+|[ \t]+$/g, ""),
      text.slice(start, end + 2),
    );
  }

  #note({ role }: FieldName, value: string, line: string): boolean {
    switch (role) {
      case "status":
        // Behind a status line it is a header like any other.
        if (this.#minor !== undefined) return true;
        this.#noteStatus(value);
        return false;
      case "content-length":
        if (this.#length !== undefined) throw unclear("it has two Content-Length");
        this.#length = value;
        this.#lengthLine = line;
        return true;
      case "transfer-encoding":
        if (this.#coding !== undefined) throw unclear("it has two Transfer-Encoding");
        this.#coding = value;
        return false;
      case "connection":
        this.#connection += `${this.#connection === "" ? "" : ","}${value.toLowerCase()}`;
        return false;
      case "upgrade":
        this.#upgrade = value;
        return false;
      case "hop-by-hop":
        return false;
      case "date":
        this.#hasDate = true;
        return true;
      case "location":
        this.#hasLocation = true;
        return true;
      case "host":
      case "expect":
      case "other":
        return true;
    }
  }

  #noteStatus(value: string): void {
    if (this.#status !== undefined) throw unclear("it has two statuses");
    const match = statusValue.exec(value);
    if (match === null) {
      const shown = escapeForLog(value as ByteString, 80);
      throw unclear(`Status is '${shown}', not a number and a text`);
    }
    this.#status = Number(match[1]);
    this.#reason = match[2];
  }

  /** RFC 9112, 6.3, and PROTOCOL section 11. */
  #framing(status: number, isHead: boolean): AnswerFraming {
    const [length, coding] = [this.#length, this.#coding];
    if (length !== undefined && !/^\d{1,15}$/.test(length))
      throw unclear("its Content-Length is no length");
    if (coding !== undefined && coding.toLowerCase() !== "chunked") {
      throw unclear("its Transfer-Encoding is not chunked");
    }
    if (length !== undefined && coding !== undefined) {
      throw unclear("it has both Content-Length and Transfer-Encoding");
    }
    if (isHead || status < 200 || status === 204 || status === 304) return noBody;
    if (coding !== undefined) return inChunks;
    return length === undefined ? untilEnd : { kind: "length", bytes: Number(length) };
  }
}

/** Without the line: not where another one ends like it. */
function withoutLine(lines: string, line: string): string {
  return `\r\n${lines}`.replace(`\r\n${line}`, "\r\n").slice(2);
}

/** Without the lines of headers that Connection names; the length is not its to take away. */
function withoutNamed(lines: string, connection: string): string {
  const named = connection.split(",").map((name) => name.trim());
  if (named.every((name) => name === "" || name === "close" || name === "keep-alive")) return lines;
  const stays = (line: string): boolean => {
    const name = line.slice(0, line.indexOf(":")).toLowerCase();
    return name === "content-length" || !named.includes(name);
  };
  return lines
    .split("\r\n")
    .filter((line) => line === "" || stays(line))
    .join("\r\n");
}

function unclear(why: string): ProtocolError {
  return new ProtocolError(`answer of the instance: ${why}`);
}
