/** What an instance says on its lifeline and a preloader on its descriptor 4, by the bytes. */

import { expect, test } from "bun:test";
import { Decoder } from "../../src/wire/decoder.ts";
import {
  encodeFork,
  encodeErrorPage,
  encodeStack,
  parseLifelineMessage,
  parsePreloaderMessage,
} from "../../src/wire/instance-protocol.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { b, bytes, cutEverywhere, literal } from "./support.ts";
import { encodeDone, encodeReady } from "../helpers/peer-messages.ts";

test("ready and its concurrency, cut at any byte", () => {
  expect(literal(encodeReady(32, false))).toBe("\0\x09ready\x0032\0");
  cutEverywhere(bytes("\0\x09ready\x0032\0"), (first, second) => {
    const decoder = new Decoder();
    decoder.push(first);
    decoder.keepRest();
    decoder.push(second);
    expect(parseLifelineMessage(decoder.nextArray() ?? [])).toEqual({
      kind: "ready",
      concurrency: 32,
      reportsDone: false,
    });
  });
});

test("ready that promises to say done, done and how many, and stack", () => {
  const ready = encodeReady(1, true);
  expect(literal(ready)).toBe("\0\x0dready\x001\0done\0");
  expect(literal(encodeDone(12))).toBe("\0\x08done\x0012\0");
  expect(literal(encodeStack())).toBe("\0\x06stack\0");
  const decoder = new Decoder();
  decoder.push(Buffer.concat([ready, encodeDone(12)]));
  const next = () => parseLifelineMessage(decoder.nextArray() ?? []);
  expect(next()).toEqual({ kind: "ready", concurrency: 1, reportsDone: true });
  expect(next()).toEqual({ kind: "done", sessions: 12 });
});

test("error_page and the page after it", () => {
  const frame = encodeErrorPage(bytes("<p>\xff"));
  expect(literal(frame)).toBe("\0\x0berror_page\0\0\0\0\x04<p>\xff");
  const decoder = new Decoder();
  decoder.push(frame);
  expect(parseLifelineMessage(decoder.nextArray() ?? [])).toEqual({ kind: "error_page" });
  expect(literal(decoder.nextScalar(4))).toBe("<p>\xff");
});

test.each([
  [["ready"]],
  [["ready", "1", ""]],
  [["ready", "1", "Done"]],
  [["ready", "1", "done", ""]],
  [["done"]],
  [["done", "0"]],
  [["done", "-1"]],
  [["done", "1.5"]],
  [["done", "9007199254740993"]],
  [["done", "1", ""]],
  [["ready", ""]],
  [["ready", "0"]],
  [["ready", "-1"]],
  [["ready", "100001"]],
  [["ready", "many"]],
  [["error_page", "<p>"]],
  [["hello"]],
  [[""]],
])("%j is nothing a lifeline says", (elements) => {
  expect(() => parseLifelineMessage(elements.map(b))).toThrow(ProtocolError);
});

test("the error shows what came instead", () => {
  expect(() => parseLifelineMessage([b("Traceback\n")])).toThrow(
    String.raw`lifeline: 'Traceback\n' with 1 elements is neither 'ready' and a number nor 'done'`,
  );
});

test("the order to fork", () => {
  expect(literal(encodeFork(7))).toBe("\0\x07fork\x007\0");
});

function parse(...elements: string[]) {
  return parsePreloaderMessage(elements.map(b));
}

test("what a preloader reports", () => {
  expect(parse("forked", "7", "4711")).toEqual({ kind: "forked", fork: 7, pid: 4711 });
  const message = b("no memory");
  expect(parse("fork_failed", "7", "no memory")).toEqual({ kind: "fork_failed", fork: 7, message });
  expect(parse("exited", "4711", "3")).toEqual({ kind: "exited", pid: 4711, status: 3 });
  expect(parse("exited", "4711", "-9")).toEqual({ kind: "exited", pid: 4711, status: -9 });
});

test.each([
  [["forked", "7"]],
  [["forked", "-1", "4711"]],
  [["forked", "7", "0"]],
  [["forked", "7", "-4711"]],
  [["forked", "7", "4194305"]],
  [["forked", "7", "4711", ""]],
  [["exited", "4711"]],
  [["exited", "0", "3"]],
  [["exited", "4711", "well"]],
  [["fork_failed", "x", "why"]],
  [["ready", "1"]],
  [[""]],
])("%j is nothing a preloader reports", (elements) => {
  expect(() => parsePreloaderMessage(elements.map(b))).toThrow(ProtocolError);
});
