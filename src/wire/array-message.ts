/**
 * Array messages: a 16-bit big-endian length N, then N bytes, each element followed by one NUL.
 * There is at least one element, and none holds a NUL. Encoding only; decoder.ts reads them. A
 * message of ours that does not fit is a mistake of ours (RangeError, TypeError), but for texts
 * that may be cut: see encodeArrayCut.
 */

import { cutBytes, type ByteString } from "./bytes.ts";

/** The most bytes after the length field: what 16 bits can say. */
export const MAX_ARRAY_BYTES = 65_535;

export function encodeArray(elements: readonly ByteString[]): Uint8Array {
  if (elements.length === 0) throw new RangeError("encode array message: it has no elements");
  for (const [index, element] of elements.entries()) {
    if (element.includes("\0")) {
      throw new TypeError(`encode array message: element ${index} holds a NUL`);
    }
  }
  return encodePayload(`${elements.join("\0")}\0`);
}

/**
 * As encodeArray, but element `cuttable` is a text for people: its NULs become spaces, and it is
 * cut (at the end of a UTF-8 character) so that the message fits its frame.
 */
export function encodeArrayCut(elements: readonly ByteString[], cuttable: number): Uint8Array {
  const text = elements[cuttable];
  if (text === undefined) throw new RangeError(`encode array message: no element ${cuttable}`);
  const others = elements.reduce((sum, element) => sum + element.length + 1, -text.length);
  const clean = text.replaceAll("\0", " ") as ByteString;
  const room = Math.max(0, MAX_ARRAY_BYTES - others);
  return encodeArray(elements.with(cuttable, cutBytes(clean, room)));
}

/**
 * The frame around a payload that is already `element NUL element NUL …`. For the hot path, where
 * the elements are numbers of ours: only the length is checked.
 */
export function encodePayload(payload: string): Uint8Array {
  const length = payload.length;
  if (length > MAX_ARRAY_BYTES) {
    throw new RangeError(`encode array message: ${length} bytes, ${MAX_ARRAY_BYTES} at most`);
  }
  const frame = Buffer.allocUnsafe(2 + length);
  frame[0] = length >> 8;
  frame[1] = length;
  frame.write(payload, 2, "latin1");
  return frame;
}
