/**
 * However bytes come, in one piece, cut anywhere, or one by one, they mean the same; and what is
 * composed of known requests is read as those. HTTP_SEED=n repeats one seed.
 */
import { expect, test } from "bun:test";

import { frame, type FramedRequest } from "./frames.ts";
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

const methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "X-ANY"];
const targets = ["/", "/a?b=c&d='%27", "/%C3%A9", "/a//b/", "/?", "/a;b=c", `/${"x".repeat(3000)}`];
const fields: (readonly [string, string])[] = [
  ["X-A", "1"],
  ["x-a", "2"],
  ["Accept", "*/*, text/html;q=0.5"],
  ["Cookie", 'a=b; c="d"'],
  ["X-Empty", ""],
  ["X-High", "caf\xe9\xa0"],
  ["User-Agent", "x".repeat(500)],
];
const blanks = ["", " ", "\t", "  \t "];

/** A request, and the bytes for it in one of the forms it can have. */
function compose(random: Random): { request: FramedRequest; text: string } {
  const method = random.pick(methods);
  const target = random.pick(targets);
  const body = "body\r\n\r\nGET / HTTP/1.1\r\n".repeat(random.below(4)).slice(0, random.below(90));
  const form =
    body === "" ? random.pick(["none", "zero", "chunked"]) : random.pick(["length", "chunked"]);
  const framing: (readonly [string, string])[] =
    form === "none"
      ? []
      : form === "chunked"
        ? [["Transfer-Encoding", random.pick(["chunked", "Chunked"])]]
        : [["Content-Length", `${"0".repeat(random.below(3))}${body.length}`]];
  const chosen = Array.from({ length: random.below(6) }, () => random.pick(fields));
  const all = [["Host", "a.example"] as const, ...chosen];
  all.splice(random.below(all.length + 1), 0, ...framing);
  const lines = all.map(
    ([name, value]) => `${name}:${random.pick(blanks)}${value}${random.pick(blanks)}\r\n`,
  );
  const before = "\r\n".repeat(random.below(3));
  const head = `${before}${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`;
  return {
    request: {
      method,
      target,
      minor: 1,
      fields: all.map(([name, value]) => [name.toLowerCase(), value] as const),
      body,
    },
    text: head + (form === "chunked" ? inChunks(random, body) : body),
  };
}

function inChunks(random: Random, body: string): string {
  const pieces = body === "" ? [] : random.cut(Buffer.from(body, "latin1"), 1 + random.below(4));
  const extension = (): string => random.pick(["", ";a", " ; a = b", ';a="b;c d"']);
  const chunks = pieces.map((piece) => {
    const size = piece.length.toString(16);
    const digits = random.pick([size, size.toUpperCase(), `0${size}`]);
    return `${digits}${extension()}\r\n${Buffer.from(piece).toString("latin1")}\r\n`;
  });
  const trailers = random.pick(["", "X-T: 1\r\n", "A: b\r\nContent-Length: 5\r\n"]);
  return `${chunks.join("")}0${extension()}\r\n${trailers}\r\n`;
}

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
