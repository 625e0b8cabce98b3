/**
 * What the tests of the wire share: bytes from literals, seeded randomness, and the two ways to
 * feed a stream that find most mistakes: cut at every byte, and byte by byte.
 */

import type { ByteString } from "../../src/wire/bytes.ts";

/** The byte string of a literal whose characters are bytes (`"\xff\0"`). */
export function b(latin1: string): ByteString {
  return latin1 as ByteString;
}

/** The bytes of such a literal. */
export function bytes(latin1: string): Uint8Array {
  return new Uint8Array(Buffer.from(latin1, "latin1"));
}

/** The literal of some bytes, so that a failed comparison can be read. */
export function literal(data: Uint8Array | undefined): string | undefined {
  return data === undefined ? undefined : Buffer.from(data).toString("latin1");
}

/** Feeds `frame` in two pieces, once for each place it can be cut. */
export function cutEverywhere(
  frame: Uint8Array,
  feed: (first: Uint8Array, second: Uint8Array, at: number) => void,
): void {
  for (let at = 0; at <= frame.length; at++) feed(frame.slice(0, at), frame.slice(at), at);
}

/** The seed of the random tests; WIRE_SEED repeats a failure. */
export const seed = Number(process.env["WIRE_SEED"] ?? 20_260_101);

/** Whole numbers in [0, below), the same for the same seed (mulberry32). */
export function randomNumbers(start: number): (below: number) => number {
  let state = start | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** A byte string of up to `maxBytes` bytes, any but NUL. */
export function randomBytes(random: (below: number) => number, maxBytes: number): ByteString {
  const codes = Array.from({ length: random(maxBytes + 1) }, () => 1 + random(255));
  return b(String.fromCharCode(...codes));
}

/** `stream` in pieces of 1 to `maxBytes` bytes. */
export function* randomPieces(
  random: (below: number) => number,
  stream: Uint8Array,
  maxBytes: number,
): Generator<Uint8Array> {
  for (let at = 0; at < stream.length;) {
    const end = at + 1 + random(maxBytes);
    yield stream.slice(at, end);
    at = end;
  }
}
