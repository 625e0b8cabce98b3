/** The headers that begin a request on a session. */

import { expect, test } from "bun:test";
import { Decoder } from "../../src/wire/decoder.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { MAX_SESSION_HEADER_BYTES, type Header } from "../../src/wire/session-headers.ts";
import { b, bytes, cutEverywhere, literal } from "./support.ts";
import { encodeSessionHeaders, parseSessionHeaders } from "../helpers/peer-messages.ts";

const headers: Header[] = [
  [b("REQUEST_METHOD"), b("GET")],
  [b("QUERY_STRING"), b("")],
  [b("PATH_INFO"), b("/\xff")],
];
const value = (size: number): Header => [b("N"), b("v".repeat(size))];
const frame = "\0\0\0\x2eREQUEST_METHOD\0GET\0QUERY_STRING\0\0PATH_INFO\0/\xff\0";

test("headers are their size and each name and value with a NUL", () => {
  expect(literal(encodeSessionHeaders(headers))).toBe(frame);
  expect(literal(encodeSessionHeaders([]))).toBe("\0\0\0\0");
});

test("headers cut at any byte are read, and what follows is the body", () => {
  cutEverywhere(bytes(`${frame}body`), (first, second) => {
    const decoder = new Decoder();
    decoder.push(first);
    decoder.keepRest();
    decoder.push(second);
    const payload = decoder.nextScalar(MAX_SESSION_HEADER_BYTES);
    expect(payload && parseSessionHeaders(payload)).toEqual(headers);
    expect(literal(decoder.takeRest())).toBe("body");
  });
});

test("order and repetition are kept", () => {
  const twice: Header[] = [
    [b("HTTP_X"), b("2")],
    [b("HTTP_X"), b("1")],
  ];
  const decoder = new Decoder();
  decoder.push(encodeSessionHeaders(twice));
  expect(parseSessionHeaders(decoder.nextScalar(100) ?? bytes(""))).toEqual(twice);
});

test("a request without headers is read as none", () => {
  expect(parseSessionHeaders(bytes(""))).toEqual([]);
});

test("headers of 128 KiB are written and read, larger ones refused", () => {
  const most = encodeSessionHeaders([value(MAX_SESSION_HEADER_BYTES - 3)]);
  const decoder = new Decoder();
  decoder.push(most);
  expect(decoder.nextScalar(MAX_SESSION_HEADER_BYTES)?.length).toBe(MAX_SESSION_HEADER_BYTES);
  const over = new Decoder();
  over.push(bytes("\0\x02\0\x01"));
  expect(() => over.nextScalar(MAX_SESSION_HEADER_BYTES)).toThrow(ProtocolError);
});

test("a NUL in a name or a value is refused: it would become another header", () => {
  expect(() => encodeSessionHeaders([[b("HTTP_X"), b("a\0HTTPS\0on")]])).toThrow(
    "encode session headers: HTTP_X holds a NUL",
  );
  expect(() => encodeSessionHeaders([[b("A\0B"), b("")]])).toThrow(RangeError);
});

test.each([
  ["A\0b", "session headers of 3 bytes: the last NUL is missing"],
  ["A\0b\0C\0", "session headers: 3 parts, a name lacks its value"],
  ["\0", "session headers: 1 parts, a name lacks its value"],
  ["A\0b\0\0c\0", "session headers: header 1 has no name"],
])("the headers %j are an error", (payload, message) => {
  expect(() => parseSessionHeaders(bytes(payload))).toThrow(new ProtocolError(message));
});
