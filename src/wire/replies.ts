/**
 * What the server answers to a client's commands, in both directions. The number of elements tells
 * the replies to tagged gets (the tag is the second element) from the others, so a reply can be
 * read without knowing its command; but for `inspect`, whose answer is a bare scalar. After
 * `session` comes a descriptor (next on the connection, or before it on the descriptor channel);
 * after a spawn exception with a page, the page as a scalar.
 */

import { elementAt, parseBoolean } from "./app-request.ts";
import { encodeArrayCut, encodePayload } from "./array-message.ts";
import { ascii, escapeForLog, type ByteString } from "./bytes.ts";
import { MAX_PID, parseNumber, parseNumberIn } from "./number.ts";
import { ProtocolError } from "./protocol-error.ts";
import { encodeScalarHeader, MAX_PAGE_BYTES } from "./scalar-message.ts";

/** A get that was refused. The names are those on the wire. */
type RefusalKind = "SpawnException" | "BusyException" | "IOException";

export type Reply =
  | { readonly kind: "ok" }
  | {
      readonly kind: "session";
      readonly pid: number;
      readonly sessionId: number;
      readonly tag?: ByteString;
      /** The session is plain HTTP/1.1 (section 10, programs); only tagged gets have such. */
      readonly speaksHttp?: true;
      /** Of the instance; only of a sticky get. */
      readonly key?: ByteString;
    }
  | {
      readonly kind: "refusal";
      readonly refusal: RefusalKind;
      readonly message: ByteString;
      /** An HTML page; only with SpawnException. */
      readonly page?: Uint8Array;
      readonly tag?: ByteString;
    }
  /** Unasked: the client is to give a kept session back, or to say that it needs it still. */
  | { readonly kind: "recall"; readonly sessionId: number }
  | { readonly kind: "error"; readonly message: ByteString }
  | { readonly kind: "decimal"; readonly value: number };

/**
 * Writes `ok` pid sessionId to the start of `target`: the reply to nearly every get, so it makes
 * neither strings nor buffers. The numbers are ours, unchecked. @returns its length.
 */
export function writeOk(target: Uint8Array, pid: number, sessionId: number): number {
  target[2] = 0x6f; // o
  target[3] = 0x6b; // k
  target[4] = 0;
  const end = writeDecimal(target, writeDecimal(target, 5, pid), sessionId);
  const length = end - 2;
  target[0] = length >> 8;
  target[1] = length;
  return end;
}

/** Writes a whole number of 0 or more, and a NUL. @returns where they end. */
function writeDecimal(target: Uint8Array, at: number, value: number): number {
  let end = at + 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) end += 1;
  target[end] = 0;
  for (let i = end - 1, rest = value; i >= at; i -= 1) {
    target[i] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return end + 1;
}

/** What is said of a tagged get's session beside its numbers. */
export interface OkDetails {
  /** It is plain HTTP/1.1. */
  readonly speaksHttp?: boolean;
  /** Of the instance, for a sticky get. */
  readonly key?: ByteString | undefined;
}

/** As writeOk, in a buffer of its own and with the tag of a tagged get, if there is one. */
export function encodeOk(
  pid: number,
  sessionId: number,
  tag?: ByteString,
  { speaksHttp = false, key }: OkDetails = {},
): Uint8Array {
  if (tag === undefined) return encodePayload(`ok\0${pid}\0${sessionId}\0`);
  const more = `${speaksHttp ? "http\0" : ""}${key === undefined ? "" : `${key}\0`}`;
  return encodePayload(`ok\0${tag}\0${pid}\0${sessionId}\0${more}`);
}

/** The plain `ok` of `openDescriptorChannel` and `configure`. */
export function encodePlainOk(): Uint8Array {
  return encodePayload("ok\0");
}

/** `recall` sessionId (PROTOCOL section 11). */
export function encodeRecall(sessionId: number): Uint8Array {
  return encodePayload(`recall\0${sessionId}\0`);
}

/** The one decimal of `getActive`, `getCount` and `getSpawnServerPid`. */
export function encodeDecimal(value: number): Uint8Array {
  return encodePayload(`${value}\0`);
}

/** `error` message: a `configure` that was not taken. */
export function encodeError(message: ByteString): Uint8Array {
  return encodeArrayCut([ascii("error"), message], 1);
}

/** The name of a refusal and its message, which is cut where it has to be, and what follows. */
export function encodeRefusal(
  refusal: RefusalKind,
  message: ByteString,
  tag?: ByteString,
  ...more: ByteString[]
): Uint8Array {
  const before = tag === undefined ? [ascii(refusal)] : [ascii(refusal), tag];
  return encodeArrayCut([...before, message, ...more], before.length);
}

/**
 * `SpawnException` and its page, if there is one, in parts to be sent one right after the other:
 * one failed spawn may answer many gets, and they can share the page.
 */
export function spawnExceptionParts(
  message: ByteString,
  page?: Uint8Array,
  tag?: ByteString,
): Uint8Array[] {
  const hasPage = ascii(String(page !== undefined));
  const array = encodeRefusal("SpawnException", message, tag, hasPage);
  if (page === undefined) return [array];
  const sent = page.subarray(0, MAX_PAGE_BYTES);
  return [array, encodeScalarHeader(sent.length), sent];
}

/** The reply that an array message is, and whether a page follows it. */
export function parseReply(elements: readonly ByteString[]): {
  reply: Reply;
  pageFollows: boolean;
} {
  const reply = parseArray(elements);
  if (reply.kind !== "refusal" || reply.refusal !== "SpawnException") {
    return { reply, pageFollows: false };
  }
  const flag = elementAt(elements, elements.length - 1);
  return { reply, pageFollows: parseBoolean(flag, "reply: page flag") };
}

function parseArray(elements: readonly ByteString[]): Reply {
  const kind: string = elementAt(elements, 0);
  switch (kind) {
    case "ok":
      return parseOk(elements);
    case "SpawnException":
      return parseRefusal(elements, kind, isTagged(elements, 3));
    case "BusyException":
    case "IOException":
      return parseRefusal(elements, kind, isTagged(elements, 2));
    case "recall":
      requireLength(elements, 2);
      return { kind, sessionId: parseSessionId(elements, 1, "reply recall: sessionId") };
    case "error":
      requireLength(elements, 2);
      return { kind, message: elementAt(elements, 1) };
    default:
      requireLength(elements, 1);
      return { kind: "decimal", value: parseNumber(elementAt(elements, 0), "reply") };
  }
}

function parseOk(elements: readonly ByteString[]): Reply {
  if (elements.length === 1) return { kind: "ok" };
  // More than a tagged get's four is said of sessions that are unlike others.
  const more = elements.slice(4);
  const speaksHttp = more[0] === "http";
  const key = more[speaksHttp ? 1 : 0];
  if (more.length > Number(speaksHttp) + 1) throw wrongLength(elements);
  const tagged = more.length > 0 || isTagged(elements, 3);
  const first = tagged ? 2 : 1;
  const pid = parseNumberIn(elementAt(elements, first), "reply ok: pid", 1, MAX_PID);
  const sessionId = parseSessionId(elements, first + 1, "reply ok: sessionId");
  if (!tagged) return { kind: "session", pid, sessionId };
  const session = { kind: "session", pid, sessionId, tag: elementAt(elements, 1) } as const;
  return {
    ...session,
    ...(speaksHttp && { speaksHttp }),
    ...(key !== undefined && { key }),
  };
}

function parseRefusal(
  elements: readonly ByteString[],
  refusal: RefusalKind,
  tagged: boolean,
): Extract<Reply, { kind: "refusal" }> {
  if (!tagged) return { kind: "refusal", refusal, message: elementAt(elements, 1) };
  const [tag, message] = [elementAt(elements, 1), elementAt(elements, 2)];
  return { kind: "refusal", refusal, message, tag };
}

function parseSessionId(elements: readonly ByteString[], at: number, what: string): number {
  return parseNumberIn(elementAt(elements, at), what, 0, Number.MAX_SAFE_INTEGER);
}

function requireLength(elements: readonly ByteString[], length: number): void {
  if (elements.length !== length) throw wrongLength(elements);
}

/** Whether a reply that has `untagged` elements without a tag has one. @throws ProtocolError. */
function isTagged(elements: readonly ByteString[], untagged: number): boolean {
  if (elements.length === untagged) return false;
  if (elements.length === untagged + 1) return true;
  throw wrongLength(elements);
}

function wrongLength(elements: readonly ByteString[]): ProtocolError {
  const name = escapeForLog(elementAt(elements, 0));
  return new ProtocolError(`reply '${name}': ${elements.length} elements are none of its forms`);
}
