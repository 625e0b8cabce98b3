/** Byte strings: bytes in, the same bytes out, and nothing but printable ASCII in logs. */

import { expect, test } from "bun:test";
import {
  cutBytes,
  escapeControls,
  escapeForLog,
  fromBytes,
  fromText,
  toBytes,
  toText,
} from "../../src/wire/bytes.ts";
import { b, bytes } from "./support.ts";

const everyByte = Uint8Array.from({ length: 256 }, (_, code) => code);

test("every byte survives the way into a byte string and back", () => {
  expect(new Uint8Array(toBytes(fromBytes(everyByte)))).toEqual(everyByte);
});

test("a part of a buffer is taken from the given bytes, also of a view into a larger one", () => {
  expect(fromBytes(everyByte.subarray(60), 5, 8)).toBe(b("ABC"));
});

test("text becomes its UTF-8 bytes, and bytes that are UTF-8 become text again", () => {
  expect(fromText("é€")).toBe(b("\xc3\xa9\xe2\x82\xac"));
  expect(toText(b("\xc3\xa9\xe2\x82\xac"))).toBe("é€");
  expect(toText(b("a\xffb"))).toBe("a\ufffdb");
});

test("byte strings compare in byte order", () => {
  const roots = [b("/b"), b("/a\xff"), b("/a"), b("/a/")].toSorted((x, y) => (x < y ? -1 : 1));
  expect(roots).toEqual([b("/a"), b("/a/"), b("/a\xff"), b("/b")]);
});

test("a cut never splits a UTF-8 character", () => {
  const text = fromText("aé€😀");
  const cuts = Array.from({ length: text.length + 1 }, (_, end) => toText(cutBytes(text, end)));
  expect(cuts).toEqual(["", "a", "a", "aé", "aé", "aé", "aé€", "aé€", "aé€", "aé€", "aé€😀"]);
});

test("a cut of bytes that are no UTF-8 is at the limit", () => {
  expect(cutBytes(b("\x80".repeat(9)), 6)).toBe(b("\x80".repeat(6)));
});

test("a log shows printable ASCII and escapes every other byte", () => {
  expect(escapeForLog(b("/srv/a b\n\t\r\0\x1b[31m\\é\xff"))).toBe(
    String.raw`/srv/a b\n\t\r\x00\x1b[31m\\\xe9\xff`,
  );
  expect(escapeForLog(fromBytes(everyByte), 256)).toMatch(/^[ -~]+$/);
});

test("a log shows only the start of a long byte string", () => {
  expect(escapeForLog(b("x".repeat(200)))).toBe("x".repeat(200));
  expect(escapeForLog(b("x".repeat(201)))).toBe(`${"x".repeat(200)}...`);
  expect(escapeForLog(b("\n\n\n"), 2)).toBe(String.raw`\n\n...`);
});

test("a report keeps UTF-8 and other bytes, and escapes control characters", () => {
  expect(escapeControls(b("/srv/\xc3\xa9 \xff\\"))).toBe(b("/srv/\xc3\xa9 \xff\\"));
  expect(escapeControls(b("a\nb\x1b\x7f\0c"))).toBe(b(String.raw`a\nb\x1b\x7f\x00c`));
});

test("a report escapes the C1 controls, which UTF-8 writes in two bytes", () => {
  expect(escapeControls(b("\xc2\x9bm\xc2\xa0"))).toBe(b("\\xc2\\x9bm\xc2\xa0"));
});

test("a view of a larger buffer is copied out whole", () => {
  expect(fromBytes(bytes("0123456789").subarray(2, 5))).toBe(b("234"));
});
