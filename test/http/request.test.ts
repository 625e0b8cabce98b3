// Requests as a connection hands them out: what is a request, what is refused and by which rule,
// and that neither depends on how the bytes come.

import { expect, test } from "bun:test";

import { Connection, type VisitorEvent } from "../../src/http/connection.ts";
import { FieldNames } from "../../src/wire/field-names.ts";
import { refusals } from "../../src/http/refusals.ts";

const names = new FieldNames();

/** What a connection makes of bytes, in short words; each request is answered at once. */
function read(sent: string, cut = sent.length, maxHeadBytes = 16 * 1024): string[] {
  const connection = new Connection(names, maxHeadBytes);
  const seen: string[] = [];
  const take = (): void => {
    for (let event = connection.next(); event !== undefined; event = connection.next()) {
      show(event, seen);
      if (event.kind === "request" && event.head.framing.kind === "none") answer();
      if (event.kind === "end") answer();
    }
  };
  const answer = (): void => {
    connection.begin(false);
    if (!connection.finish()) seen.push("closed");
  };
  for (let at = 0; at < sent.length; at += cut) {
    connection.receive(Buffer.from(sent.slice(at, at + cut), "latin1"));
    take();
  }
  connection.end();
  take();
  return seen;
}

function show(event: VisitorEvent, seen: string[]): void {
  const last = seen.at(-1) ?? "";
  if (event.kind === "request") {
    seen.push(`${event.head.method} ${event.head.target.text} of ${event.head.host}`);
  } else if (event.kind === "data") {
    const text = Buffer.from(event.bytes).toString("latin1");
    if (last.startsWith("body ")) seen[seen.length - 1] = last + text;
    else seen.push(`body ${text}`);
  } else if (event.kind === "refused") {
    const rule = Object.entries(refusals).find(([, refusal]) => refusal === event.refusal);
    seen.push(`refused: ${rule?.[0]}`);
  } else if (event.kind === "left") {
    seen.push(`left within ${event.within}`);
  } else {
    seen.push(event.kind);
  }
}

const h = "Host: a\r\n";
const get = (target: string, more = ""): string => `GET ${target} HTTP/1.1\r\n${h}${more}\r\n`;
const post = (more: string, body: string): string => `POST / HTTP/1.1\r\n${h}${more}\r\n${body}`;

const cases: readonly [claim: string, sent: string, ...seen: string[]][] = [
  ["one request", get("/x?y"), "GET /x?y of a", "left within nothing"],
  [
    "three requests in one segment are three, in order",
    get("/1") + get("/2") + get("/3"),
    "GET /1 of a",
    "GET /2 of a",
    "GET /3 of a",
    "left within nothing",
  ],
  [
    "empty lines before a request are read over",
    `\r\n${get("/1")}\r\n\r\n${get("/2")}`,
    "GET /1 of a",
    "GET /2 of a",
    "left within nothing",
  ],
  [
    "a body with a length ends there",
    post("Content-Length: 5\r\n", `hello${get("/2")}`),
    "POST / of a",
    "body hello",
    "end",
    "GET /2 of a",
    "left within nothing",
  ],
  [
    "a body in chunks: extensions and trailers are read over",
    post(
      "Transfer-Encoding: chunked\r\n",
      `2 ; a="b c"\r\nhe\r\n3\r\nllo\r\n0;x\r\nA: b\r\n\r\n${get("/2")}`,
    ),
    "POST / of a",
    "body hello",
    "end",
    "GET /2 of a",
    "left within nothing",
  ],
  [
    "GET with a body",
    `GET / HTTP/1.1\r\n${h}Content-Length: 1\r\n\r\nx`,
    "GET / of a",
    "body x",
    "end",
    "left within nothing",
  ],
  [
    "an absolute target's host wins",
    get("http://b.example:81/x"),
    "GET /x of b.example:81",
    "left within nothing",
  ],
  ["an absolute target without a path", get("HTTP://b?x"), "GET /?x of b", "left within nothing"],
  ["OPTIONS *", `OPTIONS * HTTP/1.1\r\n${h}\r\n`, "OPTIONS * of a", "left within nothing"],
  ["any token is a method", `BREW / HTTP/1.1\r\n${h}\r\n`, "BREW / of a", "left within nothing"],
  [
    "nothing follows a request that closes",
    get("/1", "Connection: x, CLOSE\r\n") + get("/2"),
    "GET /1 of a",
    "closed",
  ],
  ["HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", "GET / of ", "closed"],
  [
    "HTTP/1.0 stays when it asks to",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / of ",
    "left within nothing",
  ],
  ["a head that stops", "GET / HTTP/1.1\r\nHost", "left within head"],
  [
    "a body that stops",
    post("Content-Length: 5\r\n", "hell"),
    "POST / of a",
    "body hell",
    "left within body",
  ],
  [
    "chunks that stop",
    post("Transfer-Encoding: chunked\r\n", "5\r\nhel"),
    "POST / of a",
    "body hel",
    "left within body",
  ],
  [
    "malformed chunks",
    post("Transfer-Encoding: chunked\r\n", "x\r\n"),
    "POST / of a",
    "refused: chunk",
  ],
  [
    "a request in the place of trailers",
    post("Transfer-Encoding: chunked\r\n", `0\r\n${get("/2")}`),
    "POST / of a",
    "refused: chunk",
  ],
  ["a LF alone", "GET / HTTP/1.1\nHost: a\n\n", "refused: lineEnd"],
  ["a LF alone at the head's end", `GET / HTTP/1.1\r\n${h}\n`, "refused: lineEnd"],
  ["a CR alone", get("/", "X: a\rb\r\n"), "refused: lineEnd"],
  ["a NUL", get("/", "X: a\0b\r\n"), "refused: control"],
  ["a folded header", get("/", "X: a\r\n b\r\n"), "refused: folded"],
  ["a blank before the colon", get("/", "X : a\r\n"), "refused: blankBeforeColon"],
  ["a name that is no token", get("/", "X(: a\r\n"), "refused: fieldName"],
  ["a line without a colon", get("/", "X\r\n"), "refused: fieldLine"],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", "refused: hostMissing"],
  ["two Hosts", get("/", h), "refused: hostTwice"],
  ["a Host that is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "refused: host"],
  [
    "two lengths",
    post("Content-Length: 5\r\ncontent-length: 5\r\n", "hello"),
    "refused: lengthTwice",
  ],
  ["a length that is none", post("Content-Length: +5\r\n", "hello"), "refused: length"],
  [
    "a length and a coding",
    post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", ""),
    "refused: codingAndLength",
  ],
  ["another coding", post("Transfer-Encoding: gzip, chunked\r\n", ""), "refused: coding"],
  [
    "a coding in HTTP/1.0",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "refused: codingInOld",
  ],
  ["CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "refused: methodRefused"],
  ["a method in small letters", `get / HTTP/1.1\r\n${h}\r\n`, "refused: methodCase"],
  ["another version", `GET / HTTP/2.0\r\n${h}\r\n`, "refused: version"],
  ["two blanks", `GET  / HTTP/1.1\r\n${h}\r\n`, "refused: requestLine"],
  ["no version", "GET /\r\n", "refused: requestLine"],
  ["a target that is an authority", get("b:443"), "refused: targetForm"],
  ["a fragment", get("/a#b"), "refused: targetFragment"],
  ["an escape that is none", get("/a%zz"), "refused: targetEscape"],
  ["a hidden NUL", get("/a%00"), "refused: targetNul"],
  ["a hidden way up", get("/a/%2e%2E%2fb"), "refused: targetWayUp"],
  ["another expectation", post("Expect: x\r\n", ""), "refused: expectation"],
];

for (const [claim, sent, ...seen] of cases) {
  test(claim, () => {
    expect(read(sent)).toEqual(seen);
  });
  test(`${claim}, byte by byte`, () => {
    expect(read(sent, 1)).toEqual(seen);
  });
}

test("a head beyond its limit is refused, before it is whole", () => {
  expect(read(`GET / HTTP/1.1\r\nX: ${"x".repeat(200)}`, 50, 100)).toEqual([
    "refused: headTooLarge",
  ]);
});

test("what is asked while an answer is owed waits for it", () => {
  const connection = new Connection(names, 1000);
  connection.receive(Buffer.from(get("/1") + get("/2")));
  expect(connection.next()).toMatchObject({ kind: "request", head: { target: { text: "/1" } } });
  expect(connection.next()).toBeUndefined();
  expect(connection.unreadBytes).toBe(get("/2").length);
  connection.interim();
  connection.begin(false);
  expect(connection.finish()).toBe(true);
  expect(connection.next()).toMatchObject({ kind: "request", head: { target: { text: "/2" } } });
});

test("what is no step of a connection throws", () => {
  const connection = new Connection(names, 1000);
  expect(() => connection.begin(false)).toThrow("begin while the answer is none");
  connection.receive(Buffer.from(get("/")));
  connection.next();
  expect(() => connection.finish()).toThrow("finish while the answer is owed");
});

test("after a switch bytes are handed out as they come, also those that came before it", () => {
  const connection = new Connection(names, 1000);
  const asked = get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n");
  connection.receive(Buffer.from(`${asked}early`));
  expect(connection.next()).toMatchObject({ head: { upgrade: "echo" } });
  connection.switchProtocols();
  expect(connection.next()).toEqual({ kind: "data", bytes: Buffer.from("early") });
  connection.receive(Buffer.from("late"));
  expect(connection.next()).toEqual({ kind: "data", bytes: Buffer.from("late") });
  connection.end();
  expect(connection.next()).toEqual({ kind: "left", within: "switched" });
});
