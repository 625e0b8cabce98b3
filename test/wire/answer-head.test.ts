// Heads of instances' answers: what of them arrives, and how the body behind them ends.

import { expect, test } from "bun:test";

import { endOfAnswerHead, parseAnswerHead } from "../../src/wire/answer-head.ts";
import { FieldNames } from "../../src/wire/field-names.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";

const habits = { names: new FieldNames(), reasonOf: () => "Registered" };

function read(text: string, isHead = false): string {
  const end = endOfAnswerHead(Buffer.from(text, "latin1"));
  if (end === undefined) return "more";
  const head = parseAnswerHead(text.slice(0, end.head), habits, isHead);
  const { status, reason, lines, framing } = head;
  const size = framing.kind === "length" ? ` ${framing.bytes}` : "";
  return `${status} ${reason}|${lines.replaceAll("\r\n", "|")}${framing.kind}${size}`;
}

const cases: readonly [text: string, head: string][] = [
  ["Status: 200 Fine\r\nX-A: b\r\n\r\nbody", "200 Fine|X-A: b|stream"],
  ["HTTP/1.1 200 Fine\r\nX-A: b\r\n\r\n", "200 Fine|X-A: b|stream"],
  ["HTTP/1.0 999 \r\n\r\n", "999 |stream"],
  ["X-A: b\nStatus: 404 None\nx-a:c \n\nbody\r\n\r\n", "404 None|X-A: b|x-a:c |stream"],
  ["Location: /\r\n\r\n", "302 Registered|Location: /|stream"],
  [
    "Status: 200\r\nA: 1\r\nA: 2\r\nB: 3\r\nA: 4\r\n\r\n",
    "200 Registered|A: 1|A: 2|B: 3|A: 4|stream",
  ],
  [
    "Status: 200\r\nContent-Length: 3\r\nA: 1\r\n\r\n",
    "200 Registered|Content-Length: 3|A: 1|length 3",
  ],
  ["Status: 200\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n", "200 Registered|A: 1|chunked"],
  ["Status: 204\r\nContent-Length: 3\r\n\r\n", "204 Registered|none"],
  [
    "X-Content-Length: 3\r\nB: 2\r\nContent-Length: 3\r\nStatus: 205\r\n\r\n",
    "205 Registered|X-Content-Length: 3|B: 2|length 3",
  ],
  ["Status: 304\r\nContent-Length: 3\r\n\r\n", "304 Registered|Content-Length: 3|none"],
  [
    "A: 1\r\nConnection: close, X-Hop\r\nx-hop: 1\r\nKeep-Alive: 5\r\nB: 2\r\n\r\n",
    "200 Registered|A: 1|B: 2|stream",
  ],
  [
    "Connection: Content-Length\r\nContent-Length: 3\r\n\r\n",
    "200 Registered|Content-Length: 3|length 3",
  ],
  ["Content-Length: 0\r\n\r\n", "200 Registered|Content-Length: 0|length 0"],
  ["Transfer-Encoding: Chunked\r\n\r\n", "200 Registered|chunked"],
  [
    "Content-Length : 3\r\nA \t: b :c\r\nB: d :\r\n\r\n",
    "200 Registered|Content-Length: 3|A: b :c|B: d :|length 3",
  ],
  ["Status: 200 OK\r\nA: 1\r\n", "more"],
];

for (const [text, head] of cases) {
  test(JSON.stringify(text), () => {
    expect(read(text)).toBe(head);
  });
}

test("a Date that Connection takes away is none", () => {
  for (const [connection, hasDate] of [
    ["X-A", true],
    ["X-A, Date", false],
  ] as const) {
    const text = `Connection: ${connection}\r\nX-A: 1\r\nDate: x\r\n`;
    const head = parseAnswerHead(text, habits, false);
    expect(head).toMatchObject({ hasDate, lines: hasDate ? "Date: x\r\n" : "" });
  }
});

test("HEAD has no body, and says how long it would be", () => {
  for (const status of [103, 204]) {
    const text = `Status: ${status}\r\nContent-Length: 3\r\n\r\n`;
    expect(read(text, true)).toBe(`${status} Registered|none`);
  }
  expect(read("Content-Length: 3\r\n\r\n", true)).toBe("200 Registered|Content-Length: 3|none");
});

const wrong: readonly string[] = [
  "Status: 20\r\n\r\n",
  "Status: 200\r\nStatus: 200\r\n\r\n",
  "HTTP/1.1 x\r\n\r\n",
  "A b: 1\r\n\r\n",
  "A b : 1\r\n\r\n",
  " A: 1\r\n\r\n",
  "A: b\r\n folded\r\n\r\n",
  "A: b\rc\r\n\r\n",
  "A: \0\r\n\r\n",
  "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
  "Content-Length: x\r\n\r\n",
  "Content-Length: 3\r\ncontent-length: 4\r\n\r\n",
  "Content-Length: 3, 3\r\n\r\n",
  "Content-Length: -3\r\n\r\n",
  "Content-Length: 3x\r\n\r\n",
  "Content-Length:\r\n\r\n",
  "Content-Length: 1234567890123456\r\n\r\n",
  "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
  "Transfer-Encoding: gzip, chunked\r\n\r\n",
  "Transfer-Encoding: identity\r\n\r\n",
  "Transfer-Encoding: gzip\r\n\r\n",
  "\r\n\r\n",
];

for (const text of wrong) {
  test(`${JSON.stringify(text)} is an error`, () => {
    expect(() => read(text)).toThrow("answer of the instance: ");
    expect(() => read(text, true)).toThrow(ProtocolError);
  });
}
