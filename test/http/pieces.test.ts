/**
 * However bytes come, in one piece, cut anywhere, or one by one, they mean the same; and what is
 * composed of known requests is read as those. HTTP_SEED=n repeats one seed.
 */
import { expect, test } from "bun:test";

import { Connection } from "../../src/http/connection.ts";
import { FieldNames } from "../../src/wire/field-names.ts";
import { parseRequestHead } from "../../src/http/request-head.ts";
import { compose } from "./composed.ts";
import { frame } from "./frames.ts";
import { Random } from "./random.ts";
import { piecesOf, readCases } from "./raw/case.ts";

const cases = readCases().map((rawCase) => ({
  name: rawCase.name,
  bytes: Buffer.concat(piecesOf(rawCase).map(({ data }) => data)),
}));

/** Longer ones are cut at random: their length is in one field or line. */
const maxEveryBytes = 600;

test("every raw request, cut at every byte", () => {
  for (const { name, bytes } of cases) {
    if (bytes.length > maxEveryBytes) continue;
    const whole = frame([bytes]);
    for (let at = 1; at < bytes.length; at += 1) {
      const framed = frame([bytes.subarray(0, at), bytes.subarray(at)]);
      expect({ name, at, ...framed }).toEqual({ name, at, ...whole });
    }
  }
});

test("every raw request, in pieces of a few bytes", () => {
  for (const { name, bytes } of cases) {
    const whole = frame([bytes]);
    for (const seed of [1, 2, 3]) {
      const pieces = new Random(seed).cut(bytes, 1 + Math.ceil(bytes.length / 3));
      expect({ name, seed, ...frame(pieces) }).toEqual({ name, seed, ...whole });
    }
  }
});

test("composed requests are read as what they were composed of", () => {
  const only = process.env["HTTP_SEED"];
  const seeds = only === undefined ? Array.from({ length: 300 }, (_, n) => n + 1) : [Number(only)];
  for (const seed of seeds) {
    const random = new Random(seed);
    const composed = Array.from({ length: 1 + random.below(8) }, () => compose(random));
    const bytes = Buffer.from(composed.map(({ text }) => text).join(""), "latin1");
    const pieces = random.cut(bytes, 1 + random.below(20));
    const requests = composed.map(({ request }) => request);
    expect({ seed, ...frame(pieces) }).toEqual({ seed, requests, end: "left within nothing" });
  }
});

test("a connection holds on to nothing that is read while it waits for more", async () => {
  const head = Buffer.from("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n");
  const held: WeakRef<Buffer>[] = [];
  const connections = Array.from({ length: 40 }, () => {
    const connection = new Connection(new FieldNames(), 16 * 1024);
    const bytes = Buffer.concat([head, Buffer.alloc(100_000)]);
    held.push(new WeakRef(bytes));
    connection.receive(bytes);
    while (connection.next() !== undefined);
    return connection;
  });
  await Bun.sleep(1); // A WeakRef that was looked at holds until the turn is over.
  Bun.gc(true);
  // The stack may still have one or the other.
  expect(held.filter((bytes) => bytes.deref() !== undefined).length).toBeLessThan(20);
  expect(connections.every(({ unreadBytes }) => unreadBytes === 0)).toBe(true);
});

test("a head that repeats the one before but for its first line is read as on its own", () => {
  const fields = [
    "Host: a\r\nCookie: a=1\r\n",
    "Host: a\r\nCookie: a=2\r\n",
    "Host: a\r\nX: 1\r\nx: 2\r\nConnection: close, x\r\n",
    "Host: a\r\nContent-Length: 2\r\n",
    "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    "Host: a\r\nHost: b\r\n",
    "Cookie: a=1\r\n",
    "",
  ];
  const lines = [
    "GET / HTTP/1.1",
    "POST /b HTTP/1.1",
    "GET http://c/d HTTP/1.1",
    "GET / HTTP/1.0",
    "GET /\x01 HTTP/1.1",
    "GET / HTTP/1.1\r",
    "GET / HTTP/1.1\nX: 1",
    "get / HTTP/1.1",
  ];
  const heads = fields.flatMap((field) => lines.map((line) => `${line}\r\n${field}`.slice(0, -2)));
  const names = new FieldNames();
  for (const before of fields.map((field) => `PUT / HTTP/1.0\r\n${field}`.slice(0, -2))) {
    const first = parseRequestHead(before, names);
    if (first.kind === "refusal") continue;
    for (const head of heads) {
      const again = parseRequestHead(head, names, first.fields);
      expect({ head, ...again }).toEqual({ head, ...parseRequestHead(head, names) });
    }
  }
});
