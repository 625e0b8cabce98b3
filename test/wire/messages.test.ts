/** Array and scalar messages: their bytes, by hand. */

import { expect, test } from "bun:test";
import { encodeArray, encodeArrayCut, MAX_ARRAY_BYTES } from "../../src/wire/array-message.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { encodeScalar } from "../../src/wire/scalar-message.ts";
import { b, bytes, literal } from "./support.ts";

test("an array message is its length and each element with a NUL", () => {
  expect(literal(encodeArray([b("close"), b("7")]))).toBe("\0\x08close\x007\0");
  expect(literal(encodeArray([b("")]))).toBe("\0\x01\0");
  expect(literal(encodeArray([b("/\xff\xe9"), b("")]))).toBe("\0\x05/\xff\xe9\0\0");
});

test("the length of an array message is big-endian", () => {
  const frame = encodeArray([b("x".repeat(0x0233))]);
  expect([frame[0], frame[1], frame.length]).toEqual([0x02, 0x34, 2 + 0x0234]);
});

test("an array message holds 65,535 bytes and no more", () => {
  const longest = b("x".repeat(MAX_ARRAY_BYTES - 1));
  expect(literal(encodeArray([longest]))).toBe(`\xff\xff${longest}\0`);
  expect(() => encodeArray([b(`${longest}x`)])).toThrow(
    "encode array message: 65536 bytes, 65535 at most",
  );
});

test("an array message without elements or with a NUL in one is a mistake", () => {
  expect(() => encodeArray([])).toThrow("encode array message: it has no elements");
  expect(() => encodeArray([b("get"), b("/a\0b")])).toThrow(
    "encode array message: element 1 holds a NUL",
  );
});

test("a text too long for its frame is cut, and the other elements stay whole", () => {
  const frame = encodeArrayCut([b("SpawnException"), b("y".repeat(100_000)), b("true")], 1);
  expect(frame.length).toBe(2 + MAX_ARRAY_BYTES);
  const decoder = new Decoder();
  decoder.push(frame);
  const [name, text, page] = decoder.nextArray() ?? [];
  expect([name, page]).toEqual([b("SpawnException"), b("true")]);
  expect(text).toBe(b("y".repeat(MAX_ARRAY_BYTES - "SpawnException true ".length - 1)));
});

test("a text that just fits is not cut", () => {
  const text = b("y".repeat(MAX_ARRAY_BYTES - "error ".length - 1));
  expect(literal(encodeArrayCut([b("error"), text], 1))).toBe(`\xff\xfferror\0${text}\0`);
});

test("a cut text ends with a whole character", () => {
  const frame = encodeArrayCut([b("\xe2\x82\xac".repeat(40_000))], 0);
  expect(frame.length).toBe(2 + 65_532 + 1);
});

test("a NUL in a text for people becomes a space", () => {
  expect(literal(encodeArrayCut([b("error"), b("a\0b")], 1))).toBe("\0\x0aerror\0a b\0");
});

test("elements that do not fit without the text are a mistake, not a broken frame", () => {
  expect(() => encodeArrayCut([b("x".repeat(70_000)), b("text")], 1)).toThrow(RangeError);
});

test("a scalar message is its 32-bit length and the bytes", () => {
  expect(literal(encodeScalar(bytes("<p>\0\xff")))).toBe("\0\0\0\x05<p>\0\xff");
  expect(literal(encodeScalar(bytes("")))).toBe("\0\0\0\0");
  expect(literal(encodeScalar(new Uint8Array(0x010203)).subarray(0, 4))).toBe("\0\x01\x02\x03");
});
