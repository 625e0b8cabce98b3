/**
 * The start of a request on a session: a 32-bit big-endian size, then the headers in CGI form,
 * `name NUL value NUL …`, or for programs lines of HTTP/1.1; and how the instance learns where the
 * body ends that follows: as on the web where it can be, else with the session. Headers are a list,
 * not a map: order and repetition are the sender's business.
 */

import type { ByteString } from "./bytes.ts";

/** The most bytes of headers: what 2.0 instances take. */
export const MAX_SESSION_HEADER_BYTES = 128 * 1024;
/** The same without what is added here. */
export const MAX_BLOCK_BYTES = MAX_SESSION_HEADER_BYTES - 64;

/** One header, name first. */
export type Header = readonly [name: ByteString, value: ByteString];

/** `name NUL value NUL …`. @throws RangeError when a part holds a NUL. */
export function encodeHeaderBlock(headers: Iterable<Header>): ByteString {
  let block = "";
  for (const [name, value] of headers) {
    if (name.includes("\0") || value.includes("\0")) {
      throw new RangeError(`encode session headers: ${name.replaceAll("\0", "?")} holds a NUL`);
    }
    block += `${name}\0${value}\0`;
  }
  return block as ByteString;
}

/** How the instance learns where the body ends; half-close: by the end of our side. */
export type BodyFraming = "length" | "chunked" | "half-close";

/** All that comes before the body; each character is a byte. */
export interface FramedHead {
  readonly head: string;
  readonly framing: BodyFraming;
}

/**
 * @param block variables without what says where the body ends.
 * @param hasBody whether one follows.
 * @param length of it, if it is known.
 * @param isFramed whether the session's end says nothing.
 */
export function framedVariables(
  block: string,
  hasBody: boolean,
  length: number | undefined,
  isFramed: boolean,
): FramedHead {
  const kept = isFramed ? `${block}SESSION_KEEP\x001\0` : block;
  if (length !== undefined) {
    return { head: sized(`${kept}CONTENT_LENGTH\0${length}\0`), framing: "length" };
  }
  if (!isFramed) return { head: sized(block), framing: "half-close" };
  if (!hasBody) return { head: sized(kept), framing: "length" };
  return { head: sized(`${kept}HTTP_TRANSFER_ENCODING\0chunked\0`), framing: "chunked" };
}

/** @param lines of HTTP/1.1, without the empty one and what says where the body ends. */
export function framedLines(
  lines: string,
  hasBody: boolean,
  length: number | undefined,
): FramedHead {
  if (length !== undefined) {
    return { head: `${lines}content-length: ${length}\r\n\r\n`, framing: "length" };
  }
  if (!hasBody) return { head: `${lines}\r\n`, framing: "length" };
  return { head: `${lines}transfer-encoding: chunked\r\n\r\n`, framing: "chunked" };
}

function byte(value: number): string {
  return String.fromCharCode(value & 255);
}

/** Variables behind their 32-bit size. */
function sized(block: string): string {
  const { length } = block;
  // One by one: each is at hand, where a string of four would have to be made.
  const size = byte(length >>> 24) + byte(length >>> 16) + byte(length >>> 8) + byte(length);
  return size + block;
}
