/**
 * Replies: each by its bytes in both directions; pages; texts that do not fit; what is no reply.
 */

import { expect, test } from "bun:test";
import { Decoder } from "../../src/wire/decoder.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import {
  encodeDecimal,
  encodeError,
  encodeOk,
  encodePlainOk,
  encodeRefusal,
  parseReply,
  writeOk,
  type Reply,
} from "../../src/wire/replies.ts";
import { MAX_PAGE_BYTES } from "../../src/wire/scalar-message.ts";
import { b, bytes, cutEverywhere, literal, randomNumbers, randomPieces, seed } from "./support.ts";
import { encodeSpawnException } from "../helpers/peer-messages.ts";

const tag = b("t1");
const page = bytes("<p>\0");

/** The replies in a stream that arrives in `pieces`, pages with their exceptions. */
function read(...pieces: Uint8Array[]): Reply[] {
  const decoder = new Decoder();
  const replies: Reply[] = [];
  let awaitingPage: Reply | undefined;
  for (const piece of pieces) {
    decoder.push(piece);
    for (;;) {
      if (awaitingPage === undefined) {
        const elements = decoder.nextArray();
        if (elements === undefined) break;
        const { reply, pageFollows } = parseReply(elements);
        if (pageFollows) awaitingPage = reply;
        else replies.push(reply);
        continue;
      }
      const received = decoder.nextScalar(MAX_PAGE_BYTES);
      if (received === undefined) break;
      replies.push({ ...awaitingPage, page: received } as Reply);
      awaitingPage = undefined;
    }
  }
  return replies;
}

/** Every reply: its bytes by hand, what we write, what is read. */
const golden: readonly (readonly [string, Uint8Array, Reply])[] = [
  ["\0\x03ok\0", encodePlainOk(), { kind: "ok" }],
  ["\0\x0aok\x001234\x000\0", encodeOk(1234, 0), { kind: "session", pid: 1234, sessionId: 0 }],
  [
    "\0\x11ok\0t1\x004194304\x0012\0",
    encodeOk(4_194_304, 12, tag),
    { kind: "session", pid: 4_194_304, sessionId: 12, tag },
  ],
  [
    "\0\x0eok\0t1\x007\x001\0key\0",
    encodeOk(7, 1, tag, { key: b("key") }),
    { kind: "session", pid: 7, sessionId: 1, tag, key: b("key") },
  ],
  [
    "\0\x1aSpawnException\0why\xff\0false\0",
    encodeSpawnException(b("why\xff")),
    { kind: "refusal", refusal: "SpawnException", message: b("why\xff") },
  ],
  [
    "\0\x18SpawnException\0why\0true\0\0\0\0\x04<p>\0",
    encodeSpawnException(b("why"), page),
    { kind: "refusal", refusal: "SpawnException", message: b("why"), page },
  ],
  [
    "\0\x1bSpawnException\0t1\0why\0true\0\0\0\0\x04<p>\0",
    encodeSpawnException(b("why"), page, tag),
    { kind: "refusal", refusal: "SpawnException", message: b("why"), page, tag },
  ],
  [
    "\0\x1cSpawnException\0t1\0why\0false\0",
    encodeSpawnException(b("why"), undefined, tag),
    { kind: "refusal", refusal: "SpawnException", message: b("why"), tag },
  ],
  [
    "\0\x12BusyException\0why\0",
    encodeRefusal("BusyException", b("why")),
    { kind: "refusal", refusal: "BusyException", message: b("why") },
  ],
  [
    "\0\x13IOException\0t1\0why\0",
    encodeRefusal("IOException", b("why"), tag),
    { kind: "refusal", refusal: "IOException", message: b("why"), tag },
  ],
  ["\0\x0aerror\0why\0", encodeError(b("why")), { kind: "error", message: b("why") }],
  ["\0\x0342\0", encodeDecimal(42), { kind: "decimal", value: 42 }],
];

for (const [frame, written, reply] of golden) {
  test(`${JSON.stringify(frame.slice(2))} is written and read, cut at any byte`, () => {
    expect(literal(written)).toBe(frame);
    cutEverywhere(bytes(frame), (first, second, at) => {
      expect(read(first, second)).toEqual([reply]);
      if (at < frame.length) expect(read(first)).toEqual([]);
    });
  });
}

test("replies in random pieces come out in order, pages with their exceptions", () => {
  const random = randomNumbers(seed);
  for (let round = 0; round < 100; round++) {
    const chosen = Array.from({ length: 12 }, () => golden[random(golden.length)]!);
    const stream = Buffer.concat(chosen.map(([, written]) => written));
    const replies = read(...randomPieces(random, stream, 1 + random(40)));
    expect({ seed, replies }).toEqual({ seed, replies: chosen.map(([, , reply]) => reply) });
  }
});

test("an empty page is a page", () => {
  const frame = encodeSpawnException(b("why"), bytes(""));
  expect(read(frame)).toEqual([
    { kind: "refusal", refusal: "SpawnException", message: b("why"), page: bytes("") },
  ]);
});

test("a message that does not fit is cut and the page still follows in its place", () => {
  const frame = encodeSpawnException(b("m".repeat(200_000)), page, tag);
  const [reply] = read(frame);
  if (reply?.kind !== "refusal") throw new Error("no refusal");
  expect(reply.message.length).toBe(65_535 - "SpawnException\0t1\0\0true\0".length);
  expect([reply.tag, literal(reply.page)]).toEqual([tag, "<p>\0"]);
});

test.each([
  ["error", encodeError(b("m".repeat(70_000)))],
  ["BusyException", encodeRefusal("BusyException", b("m".repeat(70_000)))],
  ["IOException", encodeRefusal("IOException", b("m".repeat(70_000)), tag)],
])("an %s whose message does not fit fills its frame exactly", (_name, frame) => {
  expect(literal(frame.subarray(0, 2))).toBe("\xff\xff");
  expect(frame.length).toBe(2 + 65_535);
  expect(read(frame).length).toBe(1);
});

test("a page no reader would take is cut when it is sent", () => {
  const frame = encodeSpawnException(b("why"), new Uint8Array(MAX_PAGE_BYTES + 1));
  const [reply] = read(frame);
  expect(reply?.kind === "refusal" && reply.page?.length).toBe(MAX_PAGE_BYTES);
});

test("a page over the limit is an error", () => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(MAX_PAGE_BYTES + 1);
  expect(() => read(bytes("\0\x18SpawnException\0why\0true\0"), length)).toThrow(ProtocolError);
});

const noReplies = [
  ["ok", "1"],
  ["ok", "t", "1", "2", "3", "4"],
  ["ok", "x", "1"],
  ["ok", "0", "1"],
  ["ok", "4194305", "1"],
  ["ok", "1", "-1"],
  ["ok", "1", "1 "],
  ["SpawnException", "why"],
  ["SpawnException", "why", "maybe"],
  ["SpawnException", "t", "why", "true", "x"],
  ["BusyException"],
  ["IOException", "t", "why", "x"],
  ["error"],
  ["error", "a", "b"],
  ["42", "43"],
  ["hello"],
  [""],
];

for (const elements of noReplies) {
  test(`${JSON.stringify(elements)} is no reply`, () => {
    expect(() => parseReply(elements.map(b))).toThrow(ProtocolError);
  });
}

test("ok is encoded anew each time: a reply still queued does not change", () => {
  const first = encodeOk(1, 2);
  encodeOk(3, 4);
  const decoder = new Decoder();
  decoder.push(first);
  expect(decoder.nextArray()).toEqual(["ok", "1", "2"].map(b));
});

test("an ok that is written in place is the ok that is encoded, for numbers of every length", () => {
  const target = new Uint8Array(64).fill(0xff);
  const numbers = [0, 1, 9, 10, 99, 100, 12_345, 4_194_304, 2 ** 31, 2 ** 32 + 7, 2 ** 53 - 1];
  for (const pid of numbers) {
    for (const sessionId of numbers) {
      const end = writeOk(target, pid, sessionId);
      expect(Buffer.from(target.subarray(0, end))).toEqual(Buffer.from(encodeOk(pid, sessionId)));
    }
  }
});
