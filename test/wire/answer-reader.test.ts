/** Answers of instances as they come: what applications write, and what must not pass. */

import { expect, spyOn, test } from "bun:test";
import { type AnswerHead, headersOf, maxAnswerHeadBytes } from "../../src/wire/answer-head.ts";
import { AnswerReader, type AnswerSink } from "../../src/wire/answer-reader.ts";
import { FieldNames } from "../../src/wire/field-names.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { bytes, cutEverywhere, literal, randomNumbers, randomPieces, seed } from "./support.ts";

interface Parsed {
  status: number;
  reason: string;
  headers: readonly (readonly [string, string])[];
  body: string | undefined;
}

const habits = { names: new FieldNames(), reasonOf: () => "" };

class Noted implements AnswerSink {
  readonly interims: number[] = [];
  parsed: Parsed | undefined;
  isClean: boolean | undefined;

  interim({ status }: AnswerHead): void {
    this.interims.push(status);
  }

  switched(head: AnswerHead): void {
    this.head(head);
  }

  head(head: AnswerHead): void {
    const { status, reason } = head;
    this.parsed = { status, reason, headers: headersOf(head), body: "" };
  }

  body(part: Uint8Array): void {
    if (this.parsed !== undefined) this.parsed.body += literal(part) ?? "";
  }

  end(isClean: boolean): void {
    this.isClean = isClean;
  }
}

function readAll(...pieces: Uint8Array[]): Noted {
  const noted = new Noted();
  const reader = new AnswerReader(noted, false, habits);
  for (const piece of pieces) reader.push(Buffer.from(piece));
  return noted;
}

/** Reads an answer that arrives in `pieces`. */
function parse(...pieces: Uint8Array[]): Parsed | undefined {
  return readAll(...pieces).parsed;
}

const answer =
  "Status: 404 Not Found\r\nContent-Type: text/html\r\nX-E: \xe9\xa0\r\n\r\nbody\r\n\r\n";
const parsedAnswer: Parsed = {
  status: 404,
  reason: "Not Found",
  headers: [
    ["Content-Type", "text/html"],
    ["X-E", "\xe9\xa0"],
  ],
  body: "body\r\n\r\n",
};

test("an answer cut at any byte is read, and what follows the empty line is the body", () => {
  cutEverywhere(bytes(answer), (first, second) => {
    expect(parse(first, second)).toEqual(parsedAnswer);
  });
});

test("an answer in random pieces is the same", () => {
  const random = randomNumbers(seed);
  for (let round = 0; round < 200; round++) {
    const pieces = [...randomPieces(random, bytes(answer), 1 + random(20))];
    expect({ seed, parsed: parse(...pieces) }).toEqual({ seed, parsed: parsedAnswer });
  }
});

test("lines may end in LF, also in a mixture", () => {
  expect(parse(bytes(answer.replaceAll("\r\n", "\n")))?.headers).toEqual(parsedAnswer.headers);
  expect(parse(bytes("Status: 200\nA: 1\r\nB: 2\n\r\nx"))).toEqual({
    status: 200,
    reason: "",
    headers: [
      ["A", "1"],
      ["B", "2"],
    ],
    body: "x",
  });
});

test("repeated headers are kept, in order and spelling", () => {
  const parsed = parse(bytes("set-cookie: a=1\nSet-Cookie: b=2\n\n"));
  expect(parsed?.headers).toEqual([
    ["set-cookie", "a=1"],
    ["Set-Cookie", "b=2"],
  ]);
});

test("Status may stand anywhere, in any case, and is no header of the answer", () => {
  const parsed = parse(bytes("A: 1\nstatus:  201 Created \n\n"));
  expect(parsed).toEqual({ status: 201, reason: "Created", headers: [["A", "1"]], body: "" });
});

test("without Status it is 200, with a Location 302", () => {
  expect(parse(bytes("A: 1\n\n"))?.status).toBe(200);
  expect(parse(bytes("location: /x\n\n"))?.status).toBe(302);
  expect(parse(bytes("Status: 301\nLocation: /x\n\n"))?.status).toBe(301);
});

test("spaces and tabs around a value go, those inside stay, and empty values are values", () => {
  const parsed = parse(bytes("A: \t b \t c \t \nB:\nC:d:e\n\n"));
  expect(parsed?.headers).toEqual([
    ["A", "b \t c"],
    ["B", ""],
    ["C", "d:e"],
  ]);
});

test.each([
  ["a folded line", "A: 1\r\n 2\r\n\r\n", "' 2' is no header"],
  ["a line without a colon", "200 OK\r\n\r\n", "'200 OK' is no header"],
  ["a name with a space", "A b: 1\n\n", "'A b: 1' is no header"],
  ["no name", ": 1\n\n", "': 1' is no header"],
  ["a bare CR", "A: 1\rB: 2\n\n", "its head holds a control character"],
  ["two CRs before the LF", "A: 1\r\r\n\n", "its head holds a control character"],
  ["a NUL", "A: 1\0\n\n", "its head holds a control character"],
  ["a Status without a number", "Status: OK\n\n", "Status is 'OK', not a number and a text"],
  ["a Status of two digits", "Status: 99\n\n", "Status is '99'"],
  ["a Status of four digits", "Status: 2000\n\n", "Status is '2000'"],
  ["a Status that begins with 0", "Status: 020 x\n\n", "Status is '020 x'"],
  ["two Status lines", "Status: 200\nStatus: 404\n\n", "it has two statuses"],
  ["nothing before the empty line", "\r\nhello", "it has no header"],
  ["1001 headers", `${"A: 1\n".repeat(1001)}\n`, "it has more than 1000 headers"],
])("%s is an error", (_what, text, message) => {
  expect(() => parse(bytes(text))).toThrow(message);
  expect(() => parse(bytes(text))).toThrow(ProtocolError);
});

test("a head over its limit is an error, however it arrives", () => {
  const line = bytes(`A: ${"x".repeat(1020)}\n`);
  const lines = Array.from({ length: 129 }, () => line.slice());
  expect(() => parse(...lines)).toThrow(`its head exceeds ${maxAnswerHeadBytes} bytes`);
  expect(() => parse(new Uint8Array(maxAnswerHeadBytes + 1).fill(65))).toThrow("its head exceeds");
});

test("a large body behind a small head does not count as head", () => {
  const body = "x".repeat(2 * maxAnswerHeadBytes);
  expect(parse(bytes(`A: 1\n\n${body}`))?.body?.length).toBe(body.length);
});

test("an answer that ends early says how far it came", () => {
  const reader = new AnswerReader(new Noted(), false, habits);
  expect(() => reader.ended()).toThrow("answer of the instance: it closed without one");
  reader.push(Buffer.from("Status: 200 OK\r\n"));
  reader.push(Buffer.from("Content"));
  expect(() => reader.ended()).toThrow(
    "answer of the instance: it ended inside its head, after 23 bytes",
  );
});

test("interim heads come before the head, in one piece or in many", () => {
  const text = "Status: 103\r\nLink: x\r\n\r\nStatus: 100\r\n\r\nContent-Length: 1\r\n\r\nx";
  cutEverywhere(bytes(text), (first, second) => {
    const { interims, parsed, isClean } = readAll(first, second);
    expect({ interims, isClean }).toEqual({ interims: [103, 100], isClean: true });
    expect(parsed).toMatchObject({ status: 200, body: "x" });
  });
});

test("interim heads may be as many in one piece as an instance likes", () => {
  const text = `${"Status: 102\r\n\r\n".repeat(100_000)}Content-Length: 1\r\n\r\nx`;
  const { interims, parsed } = readAll(bytes(text));
  expect(interims).toHaveLength(100_000);
  expect(parsed).toMatchObject({ status: 200, body: "x" });
});

test("to the end of the stream means to its end, not to an error of it", () => {
  for (const isReset of [false, true]) {
    const noted = new Noted();
    const reader = new AnswerReader(noted, false, habits, true);
    reader.push(Buffer.from("HTTP/1.1 200 OK\r\n\r\nhello"));
    if (isReset) expect(() => reader.ended(true)).toThrow("ended with a reset");
    else reader.ended();
    expect(noted.isClean).toBe(isReset ? undefined : false);
  }
});

test("what follows a whole answer is dropped, and no further answer could follow", () => {
  const { parsed, isClean } = readAll(bytes("Content-Length: 1\r\n\r\nxy"));
  expect({ body: parsed?.body, isClean }).toEqual({ body: "x", isClean: false });
});

test.each([
  ["Status: 200\r\n", true, "not HTTP"],
  ["Status: 200\r\nConnection: keep-alive, X-A\r\n", true, "not HTTP"],
  ["Connection: X-A, Close\r\n", false, "not HTTP"],
  ["Connection: X-A\r\nConnection: close\r\n", false, "not HTTP"],
  // In HTTP's form where CGI's was asked for: who wrote it has taken the session over.
  ["HTTP/1.1 200 OK\r\n", false, true],
  ["HTTP/1.1 200 OK\r\nConnection: close\r\n", false, false],
  ["HTTP/1.0 200 OK\r\n", false, false],
  ["HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", false, true],
] as const)("whether another answer may follow %j", (head, asked, askedInHttp) => {
  const isClean = (speaksHttp: boolean) => {
    const noted = new Noted();
    const reader = new AnswerReader(noted, false, habits, speaksHttp);
    reader.push(Buffer.from(`${head}Content-Length: 2\r\n\r\nhi`));
    expect(noted.parsed).toMatchObject({ headers: [["Content-Length", "2"]], body: "hi" });
    return noted.isClean;
  };
  expect(isClean(false)).toBe(asked);
  if (askedInHttp === "not HTTP") expect(() => isClean(true)).toThrow("it is not HTTP/1");
  else expect(isClean(true)).toBe(askedInHttp);
});

test("a head that arrives byte by byte is copied a logarithmic number of times", () => {
  const allocations = spyOn(Buffer, "allocUnsafeSlow");
  try {
    const head = bytes(`A: ${"x".repeat(60_000)}\n\n`);
    const pieces = Array.from(head, (byte) => Uint8Array.of(byte));
    expect(parse(...pieces)?.status).toBe(200);
    expect(allocations.mock.calls.length).toBeLessThan(20);
  } finally {
    allocations.mockRestore();
  }
});
