/**
 * The head of a request (RFC 9112, 3 to 6), from one string of its bytes. Rules:
 * - Strict: what two readers could read in two ways is refused, however common it is elsewhere.
 *   Each refusal is a rule of refusals.ts.
 * - Nothing is changed: target and values are as they were sent, but for the blanks around a value.
 * - One pass: a name costs a look into a map, a value a slice, and one test of the whole looks for
 *   characters that may not be there.
 */
import {
  type FieldName,
  type FieldNames,
  isToken,
  lengthOf,
  trimmed,
} from "../wire/field-names.ts";
import { isHost } from "./host.ts";
import { refusals, type Refusal } from "./refusals.ts";
import { parseTarget, type Target } from "./target.ts";

/** Where the body of a request ends. */
export type RequestFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" };

export interface RequestHead {
  readonly kind: "head";
  readonly method: string;
  readonly target: Target;
  /** Of HTTP/1.x. */
  readonly minor: 0 | 1;
  readonly fields: Fields;
  /** Of the target or the Host header: a host or empty. */
  readonly host: string;
  readonly framing: RequestFraming;
  /** Whether the visitor wants to send another request after this one (RFC 9112, 9.3). */
  readonly keepsAlive: boolean;
  /** Whether it waits for a 100 before it sends its body. */
  readonly expectsContinue: boolean;
  /** The protocols it offers to change to; empty: none. */
  readonly upgrade: string;
}

/** Registered ones; any other token is a method too. */
const methods = new Set(
  (
    "GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT TRACE PROPFIND PROPPATCH MKCOL COPY MOVE " +
    "LOCK UNLOCK REPORT SEARCH MKCALENDAR ACL BIND LINK UNLINK PURGE MERGE CHECKOUT QUERY"
  ).split(" "),
);
/** TRACK is TRACE in another server's words. */
const refusedMethods = new Set(["CONNECT", "TRACE", "TRACK"]);
/** The longest registered one has 17 (RFC 9110, 16.1.1: IANA's registry). */
const maxMethodLength = 40;
/** More than any browser sends, also behind several proxies. */
const maxFields = 200;

/** What no head may hold; line ends are looked at in pairs. */
// oxlint-disable-next-line no-control-regex -- they are what it finds
const illegal = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;
const illegalFrom = new RegExp(illegal.source, "g");

const noBody: RequestFraming = { kind: "none" };
const inChunks: RequestFraming = { kind: "chunked" };

let heads = 0;

/**
 * @param text the lines of the head, without the empty one, each but the last with its CRLF.
 * @param before the headers of another head: most visitors send the same with each request, which
 * are then those.
 */
export function parseRequestHead(
  text: string,
  names: FieldNames,
  before?: Fields,
): RequestHead | Refusal {
  const lineEnd = text.indexOf("\r\n");
  const first = lineEnd < 0 ? text : text.slice(0, lineEnd);
  const isAsBefore =
    before !== undefined &&
    lineEnd + before.text.length === text.length &&
    text.endsWith(before.text);
  const found = illegal.exec(isAsBefore ? first : text);
  if (found !== null) return refusalOfCharacter(found[0]);
  const line = parseRequestLine(first);
  if (line.kind === "refusal") return line;
  const fields = isAsBefore ? before : parseFields(text, lineEnd, names);
  return fields.kind === "refusal" ? fields : compose(line, fields);
}

/**
 * Why a head that has not come to its end can only be refused; undefined: it may become one.
 * @param text what has come of it. @param from how much of that has been looked at before.
 */
export function refuseEarly(text: string, from: number): Refusal | undefined {
  illegalFrom.lastIndex = Math.max(0, from - 1);
  const found = illegalFrom.exec(text);
  // The last character may be half of a line end.
  const isHalf = found?.[0] === "\r" && found.index === text.length - 1;
  if (found !== null && !isHalf) return refusalOfCharacter(found[0]);
  const lineEnd = text.indexOf("\r\n");
  if (lineEnd < 0 || lineEnd < from - 2) return undefined;
  const line = parseRequestLine(text.slice(0, lineEnd));
  return line.kind === "refusal" ? line : undefined;
}

function refusalOfCharacter(found: string): Refusal {
  return found === "\r" || found === "\n" ? refusals.lineEnd : refusals.control;
}

interface RequestLine {
  readonly kind: "line";
  readonly method: string;
  readonly sent: string;
  readonly minor: 0 | 1;
}

function parseRequestLine(line: string): RequestLine | Refusal {
  const first = line.indexOf(" ");
  const last = line.indexOf(" ", first + 1);
  if (first > maxMethodLength || (first < 0 && line.length > maxMethodLength)) {
    return isToken(line.slice(0, maxMethodLength)) ? refusals.methodLength : refusals.requestLine;
  }
  const method = line.slice(0, first);
  const sent = line.slice(first + 1, last);
  const version = line.slice(last + 1);
  if (first <= 0 || last <= first + 1 || version.includes(" ") || sent.includes("\t")) {
    return refusals.requestLine;
  }
  const minor = version === "HTTP/1.1" ? 1 : version === "HTTP/1.0" ? 0 : undefined;
  if (minor === undefined) {
    return /^HTTP\/\d\.\d$/.test(version) ? refusals.version : refusals.requestLine;
  }
  const refusal = methods.has(method) ? undefined : refuseMethod(method);
  return refusal ?? { kind: "line", method, sent, minor };
}

function refuseMethod(method: string): Refusal | undefined {
  if (!isToken(method)) return refusals.method;
  // Some applications write methods large themselves: two readers, two methods.
  return methods.has(method.toUpperCase()) ? refusals.methodCase : undefined;
}

/** All headers of a head. */
export interface Fields {
  readonly kind: "fields";
  /** Their lines, with the line end before the first. */
  readonly text: string;
  /** In their order, repetitions kept; names and values side by side. */
  readonly names: FieldName[];
  /** Byte strings: each character is one byte. */
  readonly values: string[];
  /** Whether a name may be there more than once. */
  hasRepeats: boolean;
  /** What whoever has the head made of them, for the next one. */
  made: unknown;
  host: string | undefined;
  length: number | undefined;
  coding: string | undefined;
  /** What Connection lists, in lower case; empty: nothing. */
  connection: string;
  expect: string;
  upgrade: string;
}

/** @param lineEnd where the request line ends; negative: nothing follows. */
function parseFields(text: string, lineEnd: number, table: FieldNames): Fields | Refusal {
  const fields: Fields = {
    kind: "fields",
    text: lineEnd < 0 ? "" : text.slice(lineEnd),
    names: [],
    values: [],
    hasRepeats: false,
    made: undefined,
    host: undefined,
    length: undefined,
    coding: undefined,
    connection: "",
    expect: "",
    upgrade: "",
  };
  heads += 1;
  for (let start = lineEnd < 0 ? text.length : lineEnd + 2; start < text.length;) {
    const found = text.indexOf("\r\n", start);
    const end = found < 0 ? text.length : found;
    const place = fields.names.length;
    if (place >= maxFields) return refusals.tooManyFields;
    const written = table.findAt(text, start, end, place);
    if (written === undefined) return refuseLine(text.slice(start, end));
    const { name } = written;
    const value = trimmed(text, start + written.text.length, end);
    const refusal = name.role === "other" ? undefined : note(fields, name, value);
    if (refusal !== undefined) return refusal;
    if (name.seenIn === heads || !name.isShared) fields.hasRepeats = true;
    name.seenIn = heads;
    fields.names.push(name);
    fields.values.push(value);
    start = end + 2;
  }
  return fields;
}

function refuseLine(line: string): Refusal {
  if (line.startsWith(" ") || line.startsWith("\t")) return refusals.folded;
  const colon = line.indexOf(":");
  if (colon <= 0) return refusals.fieldLine;
  return /[ \t]$/.test(line.slice(0, colon)) ? refusals.blankBeforeColon : refusals.fieldName;
}

/** What the headers say that decide where the message ends and what becomes of the connection. */
function note(fields: Fields, { role }: FieldName, value: string): Refusal | undefined {
  switch (role) {
    case "host":
      if (fields.host !== undefined) return refusals.hostTwice;
      if (value !== "" && !isHost(value)) return refusals.host;
      fields.host = value;
      return undefined;
    case "content-length":
      if (fields.length !== undefined) return refusals.lengthTwice;
      fields.length = lengthOf(value);
      return fields.length === undefined ? refusals.length : undefined;
    case "transfer-encoding":
      if (fields.coding !== undefined) return refusals.codingTwice;
      if (value.toLowerCase() !== "chunked") return refusals.coding;
      fields.coding = value;
      return undefined;
    case "connection":
      fields.connection += `${fields.connection === "" ? "" : ","}${value.toLowerCase()}`;
      return undefined;
    case "expect":
      fields.expect += `${fields.expect === "" ? "" : ","}${value.toLowerCase()}`;
      return undefined;
    case "upgrade":
      fields.upgrade += `${fields.upgrade === "" ? "" : ", "}${value}`;
      return undefined;
    case "date":
    case "status":
    case "location":
    case "hop-by-hop":
    case "other":
      return undefined;
  }
}

/** What lines and headers say together. */
function compose(line: RequestLine, fields: Fields): RequestHead | Refusal {
  const { method, minor } = line;
  if (refusedMethods.has(method)) return refusals.methodRefused;
  if (fields.host === undefined && minor === 1) return refusals.hostMissing;
  const { coding, length, connection, expect } = fields;
  if (coding !== undefined && length !== undefined) return refusals.codingAndLength;
  if (coding !== undefined && minor === 0) return refusals.codingInOld;
  const target = parseTarget(method, line.sent);
  if (target.kind === "refusal") return target;
  // To HTTP/1.0 an expectation means nothing (RFC 9110, 10.1.1).
  const expects = minor === 1 && expect !== "";
  if (expects && expect !== "100-continue") return refusals.expectation;
  const bytes = length ?? 0;
  const framing: RequestFraming =
    coding !== undefined ? inChunks : bytes > 0 ? { kind: "length", bytes } : noBody;
  const offers = minor === 1 && fields.upgrade !== "" && lists(connection, "upgrade");
  return {
    kind: "head",
    method,
    target,
    minor,
    fields,
    host: target.host ?? fields.host ?? "",
    framing,
    keepsAlive: minor === 1 ? !lists(connection, "close") : lists(connection, "keep-alive"),
    expectsContinue: expects && framing.kind !== "none",
    upgrade: offers ? fields.upgrade : "",
  };
}

/** Whether a list in lower case holds the word. */
export function lists(list: string, word: string): boolean {
  if (list === "" || !list.includes(word)) return false;
  return list === word || list.split(",").some((part) => part.trim() === word);
}
