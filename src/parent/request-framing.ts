/**
 * What an instance is sent before a request's body, and how it learns where that ends: as on the
 * web where it can be, else with the session.
 */

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
