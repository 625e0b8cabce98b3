/**
 * Where the body of an instance's answer ends (RFC 9112, 6.3, and PROTOCOL section 11): by its
 * length, by its chunks, with its head where there can be none, or with the stream. An answer whose
 * headers say more than one thing is an error: another reader might believe the other.
 */
import { ProtocolError } from "./protocol-error.ts";
import type { ResponseHead } from "./response-head.ts";
import type { Header } from "./session-headers.ts";

export type AnswerFraming =
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  /** Until the stream ends, with which the session ends too. */
  | { readonly kind: "stream" };

const noBody: AnswerFraming = { kind: "length", bytes: 0 };
const chunked: AnswerFraming = { kind: "chunked" };
const untilEnd: AnswerFraming = { kind: "stream" };

/** @param isHead whether the request was a HEAD. @throws ProtocolError. */
export function framingOf(head: ResponseHead, isHead: boolean): AnswerFraming {
  let length: string | undefined;
  let coding: string | undefined;
  for (const [name, value] of head.headers) {
    if (isNamed(name, "content-length")) {
      if (length !== undefined) throw unclear("it has two Content-Length");
      length = value;
    } else if (isNamed(name, "transfer-encoding")) {
      if (coding !== undefined) throw unclear("it has two Transfer-Encoding");
      coding = value;
    }
  }
  if (length !== undefined && !/^\d{1,15}$/.test(length)) {
    throw unclear("its Content-Length is no length");
  }
  if (coding !== undefined && coding.toLowerCase() !== "chunked") {
    throw unclear("its Transfer-Encoding is not chunked");
  }
  if (length !== undefined && coding !== undefined) {
    throw unclear("it has both Content-Length and Transfer-Encoding");
  }
  if (isHead || head.status === 204 || head.status === 304) return noBody;
  if (coding !== undefined) return chunked;
  return length === undefined ? untilEnd : { kind: "length", bytes: Number(length) };
}

/** The headers without Transfer-Encoding, which has been taken off with the chunks. */
export function withoutCoding(headers: readonly Header[]): readonly Header[] {
  if (!headers.some(([name]) => isNamed(name, "transfer-encoding"))) return headers;
  return headers.filter(([name]) => !isNamed(name, "transfer-encoding"));
}

/** Most names differ in length already: no string is made for them. */
function isNamed(name: string, lowerCase: string): boolean {
  return name.length === lowerCase.length && name.toLowerCase() === lowerCase;
}

function unclear(why: string): ProtocolError {
  return new ProtocolError(`answer of the instance: ${why}`);
}
