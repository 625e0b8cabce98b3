/**
 * The start of a request on a session: a 32-bit big-endian size, then the headers in CGI form,
 * `name NUL value NUL …`. The body follows as it is. Headers are a list, not a map: order and
 * repetition are the sender's business.
 */

import type { ByteString } from "./bytes.ts";

/** The most bytes of headers: what 2.0 instances take. */
export const MAX_SESSION_HEADER_BYTES = 128 * 1024;

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
