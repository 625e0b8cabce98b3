/**
 * The start of a request on a session: a 32-bit big-endian size, then the headers in CGI form,
 * `name NUL value NUL …`. The body follows as it is. Headers are a list, not a map: order and
 * repetition are the sender's business. Reading is for instances written in TypeScript and for
 * tests: Decoder.nextScalar(MAX_SESSION_HEADER_BYTES), then parseSessionHeaders, then
 * Decoder.takeRest is the body so far.
 */

import { fromBytes, type ByteString } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";

/** The most bytes of headers: what 2.0 instances take. */
export const MAX_SESSION_HEADER_BYTES = 128 * 1024;

/** One header, name first. */
export type Header = readonly [name: ByteString, value: ByteString];

/**
 * The bytes before a request's body. A RangeError if they are more than MAX_SESSION_HEADER_BYTES or
 * a part holds a NUL: the caller has to refuse such a request before.
 */
export function encodeSessionHeaders(headers: Iterable<Header>): Uint8Array {
  return frameHeaderBlock(encodeHeaderBlock(headers));
}

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

/** A block of headers with its size before it. @throws RangeError when it is too long. */
export function frameHeaderBlock(block: string): Uint8Array {
  if (block.length > MAX_SESSION_HEADER_BYTES) {
    throw new RangeError(
      `encode session headers: ${block.length} bytes, ${MAX_SESSION_HEADER_BYTES} at most`,
    );
  }
  const frame = Buffer.allocUnsafe(4 + block.length);
  frame.writeUInt32BE(block.length, 0);
  frame.write(block, 4, "latin1");
  return frame;
}

/** The headers in `payload`, the bytes after the size. */
export function parseSessionHeaders(payload: Uint8Array): Header[] {
  if (payload.length === 0) return [];
  if (payload.at(-1) !== 0) {
    throw new ProtocolError(`session headers of ${payload.length} bytes: the last NUL is missing`);
  }
  const parts = fromBytes(payload, 0, payload.length - 1).split("\0") as ByteString[];
  if (parts.length % 2 !== 0) {
    throw new ProtocolError(`session headers: ${parts.length} parts, a name lacks its value`);
  }
  const headers: Header[] = [];
  for (let index = 0; index < parts.length; index += 2) {
    const [name, value] = [parts[index], parts[index + 1]];
    if (name === undefined || value === undefined) break;
    if (name === "") throw new ProtocolError(`session headers: header ${index / 2} has no name`);
    headers.push([name, value]);
  }
  return headers;
}
