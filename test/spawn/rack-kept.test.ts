/** Kept sessions of rack applications (PROTOCOL section 11): several requests on one connection. */
import { beforeAll, expect, test } from "bun:test";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { application, unchecked } from "./rack-programs.ts";
import { ask, rackScene, to } from "./rack-scene.ts";
import { connected, get } from "./support.ts";

const { start, isTold } = rackScene();
let instance: Instance;
let plain: Instance;

beforeAll(async () => {
  [instance, plain] = await Promise.all([
    start("app", { "config.ru": application }),
    start("plain", { "config.ru": unchecked, "file.txt": "from a file" }),
  ]);
});

const kept = (path: string, more: Readonly<Record<string, string>> = {}) =>
  to(path, { SESSION_KEEP: "1", ...more });

const posted = (path: string, body: string, more: Readonly<Record<string, string>> = {}) =>
  Buffer.concat([kept(path, { REQUEST_METHOD: "POST", ...more }), Buffer.from(body, "latin1")]);

const withLength = (path: string, body: string) =>
  posted(path, body, { CONTENT_LENGTH: String(body.length) });

const chunked = (path: string, body: string) =>
  posted(path, body, { HTTP_TRANSFER_ENCODING: "chunked" });

/** The head of the next answer, as lines. */
async function answerHead({ number }: OwnedFd): Promise<string[]> {
  let text = "";
  while (!text.endsWith("\r\n\r\n")) text += await readExactly(number, 1);
  return text.trim().split("\r\n");
}

/** The next answer. `body` is without the chunks it came in, if it did. */
async function answer(session: OwnedFd) {
  const head = await answerHead(session);
  const length = head.find((line) => /^content-length: /i.test(line))?.split(" ")[1];
  if (length !== undefined) {
    return { head, body: await readExactly(session.number, Number(length)), chunks: "" };
  }
  let chunks = "";
  if (!head.includes("transfer-encoding: chunked")) return { head, body: "", chunks };
  while (!/(^|\r\n)0\r\n\r\n$/.test(chunks)) chunks += await readExactly(session.number, 1);
  const body = chunks.replace(/[0-9a-f]+\r\n([^]*?)\r\n(?=[0-9a-f])/g, "$1");
  return { head, body: body.slice(0, -"0\r\n\r\n".length), chunks };
}

async function onOne(session: OwnedFd, bytes: Uint8Array) {
  await sendAll(session.number, bytes);
  return answer(session);
}

test("answers one request after the other, each framed", async () => {
  using session = connected(instance);
  const { head, body } = await onOne(session, kept("/env"));
  expect(head[0]).toBe("Status: 200 OK");
  expect(JSON.parse(body)).toMatchObject({ PATH_INFO: "/env" });
  expect(body).not.toContain("SESSION_KEEP");
  expect((await onOne(session, withLength("/echo", "hello"))).body).toBe("hello");
  expect((await onOne(session, kept("/none"))).head).toEqual(["Status: 204 No Content"]);
  expect((await onOne(session, kept("/echo", { REQUEST_METHOD: "POST" }))).body).toBe("");
  const pieces = await onOne(session, kept("/pieces"));
  expect(pieces.head).toContain("transfer-encoding: chunked");
  expect(pieces.chunks).toBe("4\r\none \r\n6\r\nt\u00c3\u00abxt \r\n1\r\n\u00ff\r\n0\r\n\r\n");
  expect((await onOne(session, kept("/cookies"))).body).toContain("x");
});

test("frames files, application-made chunks, and answers without a body", async () => {
  using session = connected(plain);
  expect((await onOne(session, kept("/file"))).body).toBe("from a file");
  expect((await onOne(session, kept("/chunks"))).chunks).toBe("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  const request = kept("/head-with-body", { REQUEST_METHOD: "HEAD" });
  expect((await onOne(session, request)).head).toEqual([
    "Status: 200 OK",
    "content-type: text/plain",
  ]);
  expect((await onOne(session, kept("/nil"))).head[0]).toBe("Status: 500 Internal Server Error");
  expect((await onOne(session, kept("/proxy"))).body).toBe("false");
});

test("takes chunks apart before the application reads them", async () => {
  using session = connected(instance);
  const body = "5\r\nhello\r\n7;name=value\r\n, world\r\n0\r\nTrailer: x\r\n\r\n";
  expect((await onOne(session, chunked("/echo", body))).body).toBe("hello, world");
  const large = "10000\r\n" + "x".repeat(0x1_0000) + "\r\n";
  const count = await onOne(session, chunked("/count", `${large.repeat(20)}0\r\n\r\n`));
  expect(count.body).toBe(String(20 * 0x1_0000));
  const env = await onOne(session, chunked("/env", "0\r\n\r\n"));
  expect(env.body).not.toContain("TRANSFER_ENCODING");
});

test("takes a request that comes with the one before", async () => {
  using session = connected(instance);
  const both = Buffer.concat([chunked("/echo", "1\r\na\r\n0\r\n\r\n"), kept("/none")]);
  await sendAll(session.number, both);
  expect((await answer(session)).body).toBe("a");
  expect((await answer(session)).head).toEqual(["Status: 204 No Content"]);
});

test.each([
  ["a chunk without a size", chunked("/echo", "x\r\n")],
  ["a line without CR LF", chunked("/echo", "1\na\n")],
  ["a chunk longer than its size", chunked("/echo", "1\r\nabc\r\n")],
  ["a line of", chunked("/echo", "1;".padEnd(2_000, "x"))],
  ["the transfer encoding is not chunked", posted("/", "", { HTTP_TRANSFER_ENCODING: "gzip" })],
  [
    "the body has a length and is chunked",
    posted("/", "", { HTTP_TRANSFER_ENCODING: "chunked", CONTENT_LENGTH: "1" }),
  ],
])("refuses %s and ends the session", async (why, bytes) => {
  using session = connected(instance);
  await sendAll(session.number, bytes);
  const text = await readToEnd(session.number);
  expect(text).toStartWith("Status: 400 Bad Request");
  expect(text).toContain(why);
});

test("keeps a session whose body nobody read when that came with the head", async () => {
  using session = connected(instance);
  const { head, body } = await onOne(session, withLength("/ignore", "x".repeat(10_000)));
  expect(body).toBe("did not read");
  expect(head).not.toContain("connection: close");
  expect((await onOne(session, withLength("/echo", "b"))).body).toBe("b");
});

test.each([
  ["of 40,000 bytes", withLength("/ignore", "x".repeat(40_000))],
  ["of 600,000 bytes", withLength("/ignore", "x".repeat(600_000))],
  ["in chunks", chunked("/ignore", "1\r\na\r\n0\r\n\r\n")],
  ["that has not come", posted("/ignore", "", { CONTENT_LENGTH: "1" })],
  ["of which it does not know what to make", posted("/raise", "", { CONTENT_LENGTH: "1" })],
])("says that it ends the session where nobody read a body %s", async (_, bytes) => {
  using session = connected(instance);
  const { head } = await onOne(session, bytes);
  expect(head).toContain("connection: close");
  expect(await readToEnd(session.number)).toBe("");
});

test("says that it ends the session where the answer begins before the body is read", async () => {
  using session = connected(plain);
  await sendAll(session.number, posted("/early", "", { CONTENT_LENGTH: "4" }));
  const head = await answerHead(session);
  expect(head.slice(-2)).toEqual(["connection: close", "transfer-encoding: chunked"]);
  await sendAll(session.number, Buffer.from("body"));
  expect(await readToEnd(session.number)).toBe("6\r\nearly \r\n4\r\nbody\r\n0\r\n\r\n");
});

test("says nothing of a session's end to who does not keep it", async () => {
  using session = connected(instance);
  await sendAll(session.number, to("/ignore", { REQUEST_METHOD: "POST", CONTENT_LENGTH: "1" }));
  expect(await readToEnd(session.number)).not.toContain("connection");
});

test.each([
  ["whose body nobody read and is still coming", "/ignore", { CONTENT_LENGTH: "10" }],
  ["whose answer is shorter than it says", "/too-short", {}],
  ["whose answer is longer than it says", "/too-long", {}],
  ["whose connection the application took", "/streaming", {}],
])("ends a session %s", async (_, path, more) => {
  using session = connected(path === "/ignore" ? instance : plain);
  await sendAll(session.number, kept(path, { REQUEST_METHOD: "POST", ...more }));
  expect(await readToEnd(session.number)).toStartWith("Status: 200 OK");
});

test("cuts chunks short when the body fails: a client must not take it for whole", async () => {
  using session = connected(instance);
  await sendAll(session.number, kept("/failing-piece"));
  expect(await readToEnd(session.number)).toEndWith("5\r\nbegin\r\n");
  await isTold("stream broke");
});

test("keeps no session that is not to be kept", async () => {
  using session = connected(instance);
  await sendAll(session.number, get({ REQUEST_URI: "/ignore", SESSION_KEEP: "0" }));
  expect(await readToEnd(session.number)).toEndWith("did not read");
});

test("serves new sessions, and kept ones in turn, while it holds others", async () => {
  using first = connected(instance);
  using second = connected(instance);
  await onOne(first, kept("/none"));
  await onOne(second, kept("/none"));
  expect((await ask(instance, to("/ignore"))).body).toBe("did not read");
  for (let i = 0; i < 50; i += 1) {
    await Promise.all([first, second].map((one) => sendAll(one.number, kept("/none"))));
    const heads = await Promise.all([answerHead(first), answerHead(second)]);
    expect(heads.flat()).toEqual(["Status: 204 No Content", "Status: 204 No Content"]);
  }
});

test("lets the session go of a client that ends it", async () => {
  const descriptors = () => [...openDescriptors(instance.pid).values()];
  const sockets = () => descriptors().filter((what) => what.startsWith("socket:")).length;
  await until("only listener and lifeline are left", () => sockets() === 2, sockets);
  const session = connected(instance);
  await onOne(session, kept("/none"));
  expect(sockets()).toBe(3);
  session.close();
  await until("it is let go", () => sockets() === 2, sockets);
});
