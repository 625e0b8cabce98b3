/** The decoder: any chunking gives the same messages, and a broken stream is one error. */

import { expect, spyOn, test } from "bun:test";
import { encodeArray } from "../../src/wire/array-message.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { encodeScalar } from "../../src/wire/scalar-message.ts";
import {
  b,
  bytes,
  cutEverywhere,
  literal,
  randomBytes,
  randomNumbers,
  randomPieces,
  seed,
} from "./support.ts";

const get = bytes("\0\x30get\0/srv/app\0true\0nobody\0production\0smart\0rails\0");
const getElements = ["get", "/srv/app", "true", "nobody", "production", "smart", "rails"].map(b);

function decoderOf(...chunks: Uint8Array[]): Decoder {
  const decoder = new Decoder();
  for (const chunk of chunks) decoder.push(chunk);
  return decoder;
}

function allArrays(decoder: Decoder): ByteString[][] {
  const messages: ByteString[][] = [];
  for (;;) {
    const elements = decoder.nextArray();
    if (elements === undefined) return messages;
    messages.push(elements);
  }
}

test("an array message is its elements, empty ones included", () => {
  expect(allArrays(decoderOf(get))).toEqual([getElements]);
  expect(allArrays(decoderOf(bytes("\0\x01\0\0\x02\0\0")))).toEqual([[b("")], [b(""), b("")]]);
});

test("elements keep bytes that are no UTF-8", () => {
  expect(allArrays(decoderOf(bytes("\0\x04/\xff\xe9\0")))).toEqual([[b("/\xff\xe9")]]);
});

test("the longest array message is read", () => {
  const longest = b("x".repeat(65_534));
  expect(allArrays(decoderOf(bytes(`\xff\xff${longest}\0`)))).toEqual([[longest]]);
});

test("an array message cut at any byte, pulled between the pieces or not, is the same", () => {
  cutEverywhere(get, (first, second, at) => {
    expect(allArrays(decoderOf(first, second))).toEqual([getElements]);
    const decoder = decoderOf(first);
    if (at < get.length) expect(decoder.nextArray()).toBeUndefined();
    decoder.push(second);
    expect(decoder.nextArray()).toEqual(getElements);
    expect(decoder.buffered).toBe(0);
  });
});

test("a scalar message cut at any byte is the same", () => {
  const frame = bytes("\0\0\0\x06<p>\0\xff\n");
  cutEverywhere(frame, (first, second, at) => {
    const decoder = decoderOf(first);
    if (at < frame.length) expect(decoder.nextScalar(6)).toBeUndefined();
    decoder.push(second);
    expect(literal(decoder.nextScalar(6))).toBe("<p>\0\xff\n");
    expect(decoder.buffered).toBe(0);
  });
});

test("many messages in one chunk come out in order, with the piece after them kept", () => {
  const decoder = decoderOf(bytes("\0\x06clear\0\0\x06clear\0\0\x07cl"));
  expect(allArrays(decoder)).toEqual([[b("clear")], [b("clear")]]);
  expect(decoder.buffered).toBe(4);
  decoder.push(bytes("ose\x007\0"));
  expect(() => decoder.nextArray()).toThrow(ProtocolError);
});

test("arrays and scalars alternate as the caller pulls them", () => {
  const decoder = decoderOf(bytes("\0\x0dconfigure\0/a\0\0\0\0\x02{}\0\x06clear\0"));
  expect(decoder.nextArray()).toEqual([b("configure"), b("/a")]);
  expect(literal(decoder.nextScalar(10))).toBe("{}");
  expect(decoder.nextArray()).toEqual([b("clear")]);
  expect(decoder.nextArray()).toBeUndefined();
});

test("an empty chunk changes nothing", () => {
  expect(allArrays(decoderOf(bytes(""), get.slice(0, 9), bytes(""), get.slice(9)))).toEqual([
    getElements,
  ]);
});

test("a chunk may be overwritten once a pull has answered undefined", () => {
  const decoder = new Decoder();
  const chunk = new Uint8Array(8);
  const received: ByteString[][] = [];
  for (let at = 0; at < 3 * get.length; at += 8) {
    const piece = Buffer.concat([get, get, get]).subarray(at, at + 8);
    chunk.set(piece);
    decoder.push(chunk.subarray(0, piece.length));
    received.push(...allArrays(decoder));
    chunk.fill(0xff);
  }
  expect(received).toEqual([getElements, getElements, getElements]);
});

test("a chunk may be overwritten after keepRest, with whole messages still in it", () => {
  const chunk = Buffer.concat([get, get]);
  const decoder = decoderOf(chunk);
  expect(decoder.nextArray()).toEqual(getElements);
  decoder.keepRest();
  chunk.fill(0xff);
  expect(allArrays(decoder)).toEqual([getElements]);
});

test("a scalar is a copy, not a view of the chunk", () => {
  const chunk = bytes("\0\0\0\x02ab");
  const scalar = decoderOf(chunk).nextScalar(2);
  chunk.fill(0xff);
  expect(literal(scalar)).toBe("ab");
});

test("what follows the last message is handed out once, as a copy", () => {
  const chunk = bytes("\0\0\0\x02abbody");
  const decoder = decoderOf(chunk);
  decoder.nextScalar(2);
  const rest = decoder.takeRest();
  chunk.fill(0xff);
  expect(literal(rest)).toBe("body");
  expect(decoder.buffered).toBe(0);
  expect(decoder.takeRest().length).toBe(0);
});

test("an empty array message is an error, now and at every further pull", () => {
  const decoder = decoderOf(bytes("\0\0\0\x06clear\0"));
  for (let pull = 0; pull < 3; pull++) {
    expect(() => decoder.nextArray()).toThrow(new ProtocolError("array message: it is empty"));
  }
});

test("a last element without its NUL is an error, now and at every further pull", () => {
  const decoder = decoderOf(bytes("\0\x05clear\0\x06clear\0"));
  for (let pull = 0; pull < 3; pull++) {
    expect(() => decoder.nextArray()).toThrow(
      new ProtocolError("array message of 5 bytes: its last element lacks the NUL"),
    );
  }
});

test("a scalar over the limit is an error as soon as its length is known", () => {
  expect(() => decoderOf(bytes("\0\0\0\x03")).nextScalar(2)).toThrow(
    new ProtocolError("scalar message of 3 bytes: 2 at most"),
  );
  expect(() => decoderOf(bytes("\xff\xff\xff\xff")).nextScalar(1024)).toThrow(ProtocolError);
  expect(literal(decoderOf(bytes("\0\0\0\x02ab")).nextScalar(2))).toBe("ab");
});

test("a stream that ends inside a message leaves its bytes in `buffered` and gives no message", () => {
  cutEverywhere(get, (first, _second, at) => {
    if (at === get.length) return;
    const decoder = decoderOf(first);
    expect(allArrays(decoder)).toEqual([]);
    expect(decoder.buffered).toBe(at);
  });
});

test("random messages in random pieces come out as they went in", () => {
  const random = randomNumbers(seed);
  for (let round = 0; round < 300; round++) {
    const sent = Array.from({ length: 1 + random(20) }, () =>
      Array.from({ length: 1 + random(8) }, () => randomBytes(random, random(5) === 0 ? 900 : 12)),
    );
    const stream = Buffer.concat(sent.map(encodeArray));
    const decoder = new Decoder();
    const received: ByteString[][] = [];
    for (const piece of randomPieces(random, stream, 1 + random(600))) {
      decoder.push(piece);
      if (random(3) > 0) received.push(...allArrays(decoder));
      if (decoder.buffered === 0 || random(3) === 0) continue;
      decoder.keepRest();
      piece.fill(0xff);
    }
    received.push(...allArrays(decoder));
    expect({ seed, round, received }).toEqual({ seed, round, received: sent });
  }
});

test("random bytes give messages or a ProtocolError, never anything else", () => {
  const random = randomNumbers(seed + 1);
  let errors = 0;
  for (let round = 0; round < 2_000; round++) {
    const noise = Uint8Array.from({ length: 1 + random(60) }, () => random(2) * random(9));
    const decoder = new Decoder();
    try {
      for (const piece of randomPieces(random, noise, 20)) {
        decoder.push(piece);
        allArrays(decoder);
      }
    } catch (error) {
      expect(error).toBeInstanceOf(ProtocolError);
      errors++;
    }
  }
  expect(errors).toBeGreaterThan(100);
});

test("a message that arrives byte by byte is copied a logarithmic number of times", () => {
  const frame = encodeArray([b("x".repeat(65_534))]);
  const allocations = spyOn(Buffer, "allocUnsafeSlow");
  try {
    const decoder = new Decoder();
    const pulled: unknown[] = [];
    for (const byte of frame) {
      decoder.push(Uint8Array.of(byte));
      const elements = decoder.nextArray();
      if (elements !== undefined) pulled.push(elements);
    }
    expect(pulled.length).toBe(1);
    expect(allocations.mock.calls.length).toBeLessThan(12);
  } finally {
    allocations.mockRestore();
  }
});

test("whole messages in a chunk are decoded without a buffer of our own", () => {
  const allocations = spyOn(Buffer, "allocUnsafeSlow");
  try {
    const decoder = new Decoder();
    for (let chunk = 0; chunk < 10; chunk++) {
      decoder.push(Buffer.concat([get, get]));
      expect(allArrays(decoder).length).toBe(2);
    }
    expect(allocations.mock.calls.length).toBe(0);
  } finally {
    allocations.mockRestore();
  }
});

test("a scalar larger than its pieces is put together", () => {
  const page = new Uint8Array(300_000).map((_, at) => at % 251);
  const decoder = new Decoder();
  const received: Uint8Array[] = [];
  for (const piece of randomPieces(randomNumbers(seed), encodeScalar(page), 70_000)) {
    decoder.push(piece);
    const scalar = decoder.nextScalar(page.length);
    if (scalar !== undefined) received.push(scalar);
  }
  expect(received.length).toBe(1);
  expect(Buffer.from(page).equals(received[0] ?? Buffer.alloc(0))).toBe(true);
});
