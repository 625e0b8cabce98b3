/** Where an answer's body ends, and answers that say two things about it. */
import { expect, test } from "bun:test";
import { type AnswerFraming, framingOf } from "../../src/wire/answer-framing.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { ResponseHeadParser } from "../../src/wire/response-head.ts";

function framing(head: string, isHead = false): AnswerFraming {
  const parsed = new ResponseHeadParser().push(Buffer.from(`${head}\r\n\r\n`));
  if (parsed === undefined) throw new Error("the head is not whole");
  return framingOf(parsed.head, isHead);
}

test("a length, chunks, or the end of the stream", () => {
  expect(framing("Content-Length: 12")).toEqual({ kind: "length", bytes: 12 });
  expect(framing("content-length: 0")).toEqual({ kind: "length", bytes: 0 });
  expect(framing("Transfer-Encoding: Chunked")).toEqual({ kind: "chunked" });
  expect(framing("Status: 200 OK")).toEqual({ kind: "stream" });
});

test("there is no body after HEAD, 204 and 304, whatever the length says", () => {
  const none: AnswerFraming = { kind: "length", bytes: 0 };
  expect(framing("Content-Length: 12", true)).toEqual(none);
  expect(framing("Transfer-Encoding: chunked", true)).toEqual(none);
  expect(framing("Status: 204 No Content")).toEqual(none);
  expect(framing("Status: 304 Not Modified\r\nContent-Length: 12")).toEqual(none);
});

for (const head of [
  "Content-Length: 5\r\nContent-Length: 5",
  "Content-Length: 5\r\ncontent-length: 6",
  "Content-Length: 5, 5",
  "Content-Length: -5",
  "Content-Length: 5x",
  "Content-Length:",
  "Content-Length: 1234567890123456",
  "Content-Length: 5\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: identity",
]) {
  test(`${JSON.stringify(head)} is an error`, () => {
    expect(() => framing(head)).toThrow(ProtocolError);
    expect(() => framing(head, true)).toThrow(ProtocolError);
  });
}
