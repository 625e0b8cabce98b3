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
import { type FieldName, type FieldNames, lengthOf, trimmed } from "./field-names.ts";

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
  /** Whether it is in HTTP's form. */
  readonly isHttp: boolean;
  /** Whether another answer may follow it, by what it says (RFC 9112, 9.3; PROTOCOL section 11). */
  readonly persists: boolean;
}

/** Bounds of a head: servers and proxies commonly stop at 8 to 64 KiB and 100 to 200 headers. */
export const maxAnswerHeadBytes = 128 * 1024;
const maxLines = 1000;

// oxlint-disable-next-line no-control-regex -- they are what it finds
const illegal = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)/;
/** That, or a line end to be mended: most heads hold neither. */
const unusual = new RegExp(`${illegal.source}|(?<!\\r)\\n|[ \\t]:`);
/** A name with blanks behind it: a proxy takes those away (RFC 9112, 5.1). */
const blanksBehindName = /^([!#$%&'*+.^_`|~\w-]+)[ \t]+:/gm;
const httpVersion = /^HTTP\/1\.([01]) /;

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const zero = 0x30;

const noBody: AnswerFraming = { kind: "none" };
const inChunks: AnswerFraming = { kind: "chunked" };
const untilEnd: AnswerFraming = { kind: "stream" };

/**
 * Where a head ends in what has come: before its empty line and after it; undefined: not yet.
 * @param from how much has been looked at in vain.
 */
export function endOfAnswerHead(
  bytes: Uint8Array,
  from = 0,
): { readonly head: number; readonly body: number } | undefined {
  for (let at = from; at < bytes.length; at += 1) {
    if (bytes[at] !== lineFeed) continue;
    const before = bytes[at - 1] === carriageReturn ? at - 2 : at - 1;
    if (before < 0 || bytes[before] === lineFeed) return { head: before + 1, body: at + 1 };
  }
  return undefined;
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
  const lines = unusual.test(text) ? mended(text) : text;
  return new HeadReader(habits.names).read(lines, habits.reasonOf, isHead);
}

/** Each line with CRLF, names without blanks. @throws ProtocolError where more is wrong. */
function mended(text: string): string {
  if (illegal.test(text)) throw unclear("its head holds a control character");
  return text.replace(/\r?\n/g, "\r\n").replace(blanksBehindName, "$1:");
}

/** The headers that its lines are, in order and spelling. */
export function headersOf({ lines }: AnswerHead): [name: string, value: string][] {
  const all = lines.split("\r\n").slice(0, -1);
  return all.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), trimmed(line, colon + 1, line.length)];
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
      // Connection may have named it.
      hasDate: this.#hasDate && (lines === kept || /^date:/im.test(lines)),
      upgrade: this.#upgrade,
      isHttp: this.#minor !== undefined,
      persists: this.#persists,
    };
  }

  get #persists(): boolean {
    if (this.#connection === "") return this.#minor !== "0";
    const options = this.#connection.split(",").map((option) => option.trim());
    return !options.includes("close") && (this.#minor !== "0" || options.includes("keep-alive"));
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
    this.#minor = httpVersion.exec(line)?.[1];
    if (this.#minor === undefined || !this.#readStatus(line.slice("HTTP/1.1 ".length))) {
      throw unclear(`'${escapeForLog(line as ByteString, 80)}' is no status line`);
    }
    this.#reason ??= "";
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
      trimmed(text, start + written.text.length, end),
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
    if (this.#readStatus(value)) return;
    const shown = escapeForLog(value as ByteString, 80);
    throw unclear(`Status is '${shown}', not a number and a text`);
  }

  /** `404`, or `404 Not Found`. @returns whether it is. */
  #readStatus(value: string): boolean {
    let status = 0;
    for (let at = 0; at < 3; at += 1) {
      const digit = value.charCodeAt(at) - zero;
      if (!(digit >= 0 && digit <= 9)) return false;
      status = status * 10 + digit;
    }
    if (status < 100 || (value.length > 3 && value[3] !== " ")) return false;
    this.#status = status;
    if (value.length > 3) this.#reason = value.slice(4);
    return true;
  }

  /** RFC 9112, 6.3, and PROTOCOL section 11. */
  #framing(status: number, isHead: boolean): AnswerFraming {
    const [length, coding] = [this.#length, this.#coding];
    const bytes = length === undefined ? undefined : lengthOf(length);
    if (length !== undefined && bytes === undefined) {
      throw unclear("its Content-Length is no length");
    }
    if (coding !== undefined && coding.toLowerCase() !== "chunked") {
      throw unclear("its Transfer-Encoding is not chunked");
    }
    if (length !== undefined && coding !== undefined) {
      throw unclear("it has both Content-Length and Transfer-Encoding");
    }
    if (isHead || status < 200 || status === 204 || status === 304) return noBody;
    if (coding !== undefined) return inChunks;
    return bytes === undefined ? untilEnd : { kind: "length", bytes };
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
