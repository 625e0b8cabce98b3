/** What an instance says on its lifeline, by the bytes. */

import { expect, test } from "bun:test";
import { Decoder } from "../../src/wire/decoder.ts";
import {
  encodeLifelineErrorPage,
  encodeReady,
  parseLifelineMessage,
} from "../../src/wire/instance-protocol.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { b, bytes, cutEverywhere, literal } from "./support.ts";

test("ready and its concurrency, cut at any byte", () => {
  expect(literal(encodeReady(32))).toBe("\0\x09ready\x0032\0");
  cutEverywhere(bytes("\0\x09ready\x0032\0"), (first, second) => {
    const decoder = new Decoder();
    decoder.push(first);
    decoder.keepRest();
    decoder.push(second);
    expect(parseLifelineMessage(decoder.nextArray() ?? [])).toEqual({
      kind: "ready",
      concurrency: 32,
    });
  });
});

test("error_page and the page after it", () => {
  const frame = encodeLifelineErrorPage(bytes("<p>\xff"));
  expect(literal(frame)).toBe("\0\x0berror_page\0\0\0\0\x04<p>\xff");
  const decoder = new Decoder();
  decoder.push(frame);
  expect(parseLifelineMessage(decoder.nextArray() ?? [])).toEqual({ kind: "error_page" });
  expect(literal(decoder.nextScalar(4))).toBe("<p>\xff");
});

test.each([
  [["ready"]],
  [["ready", "1", ""]],
  [["ready", ""]],
  [["ready", "0"]],
  [["ready", "-1"]],
  [["ready", "1001"]],
  [["ready", "many"]],
  [["error_page", "<p>"]],
  [["hello"]],
  [[""]],
])("%j is nothing a lifeline says", (elements) => {
  expect(() => parseLifelineMessage(elements.map(b))).toThrow(ProtocolError);
});

test("the error shows what came instead", () => {
  expect(() => parseLifelineMessage([b("Traceback\n")])).toThrow(
    String.raw`lifeline: 'Traceback\n' with 1 elements is neither 'ready' and a number nor`,
  );
});
