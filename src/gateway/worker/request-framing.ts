/**
 * What an instance is sent before a request's body, and how it learns where that ends: as on the
 * web where it can be, else with the session.
 */
import { headOf } from "./cgi-block.ts";
import type { Asked } from "./asking.ts";
import type { UploadFraming } from "./request-sender.ts";

interface FramedHead {
  readonly head: string;
  readonly framing: UploadFraming;
}

/** @param isFramed whether the session's end says nothing. */
export function framedHead(asked: Asked, speaksHttp: boolean, isFramed: boolean): FramedHead {
  // Of another kind than is configured here: since a reload.
  const isOther = speaksHttp !== asked.speaksHttp;
  const head = isOther ? headOf(asked.request, speaksHttp) : asked.head;
  return speaksHttp ? linesFor(asked, head) : variablesFor(asked, head, isFramed);
}

function variablesFor(asked: Asked, block: string, isFramed: boolean): FramedHead {
  const kept = isFramed ? `${block}SESSION_KEEP\x001\0` : block;
  const length = lengthOf(asked);
  if (length !== undefined) {
    return { head: sized(`${kept}CONTENT_LENGTH\0${length}\0`), framing: "length" };
  }
  if (!isFramed) return { head: sized(block), framing: "half-close" };
  if (asked.upload === undefined) return { head: sized(kept), framing: "length" };
  return { head: sized(`${kept}HTTP_TRANSFER_ENCODING\0chunked\0`), framing: "chunked" };
}

function linesFor(asked: Asked, lines: string): FramedHead {
  const length = lengthOf(asked);
  if (length !== undefined) {
    return { head: `${lines}content-length: ${length}\r\n\r\n`, framing: "length" };
  }
  if (asked.upload === undefined) return { head: `${lines}\r\n`, framing: "length" };
  return { head: `${lines}transfer-encoding: chunked\r\n\r\n`, framing: "chunked" };
}

/** Of the body, where it is known; undefined: there is none, or it is in chunks. */
function lengthOf({ upload, contentLength }: Asked): number | undefined {
  return upload?.isWhole === true ? upload.length : contentLength;
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
