/** Kept sessions of wsgi applications (PROTOCOL section 11): one request after the other. */
import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { send } from "../../src/native/socket.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { nextAnswer, readHead } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, endWriting, exchange, get, writeApp } from "./support.ts";
import { application, wsgiRequest } from "./wsgi-programs.ts";

const { directory, spawner } = spawnerScene();
let instance: Instance;

beforeAll(async () => {
  const root = writeApp(directory, "app", { "wsgi.py": application });
  writeFileSync(`${root}/wsgi.py.data`, "0123456789");
  instance = await spawner.spawn(wsgiRequest(root));
});

/** A request on a session to be kept. */
function kept(path: string, more: Readonly<Record<string, string>> = {}, body = ""): Uint8Array {
  const [pathInfo = "", query = ""] = path.split("?");
  const head = get({ PATH_INFO: pathInfo, QUERY_STRING: query, SESSION_KEEP: "1", ...more });
  return Buffer.concat([head, Buffer.from(body, "latin1")]);
}

const chunked = { REQUEST_METHOD: "POST", HTTP_TRANSFER_ENCODING: "chunked" };

function sized(body: string) {
  return { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(body.length) };
}

async function ask(session: OwnedFd, bytes: Uint8Array) {
  await sendAll(session.number, bytes);
  return nextAnswer(session);
}

async function expectAlive(session: OwnedFd): Promise<void> {
  expect((await ask(session, kept("/cookies"))).body).toBe("x");
}

test("serves one request after the other on a session", async () => {
  using session = connected(instance);
  for (let count = 0; count < 100; count += 1) await expectAlive(session);
  const { body } = await ask(session, kept("/environ"));
  expect(body).not.toContain("SESSION_KEEP");
});

test.each([
  ["/pieces", "one two", "Transfer-Encoding: chunked"],
  ["/generator", "ab", "Transfer-Encoding: chunked"],
  ["/write", "written returned", "Transfer-Encoding: chunked"],
  ["/empty", "", "Content-Length: 0"],
  ["/file", "0123456789", "Content-Length: 10"],
  ["/announced?3,abc", "abc", "Content-Length: 3"],
  ["/announced?2,abc", "ab", "Content-Length: 2"],
  ["/raising", "Internal Server Error\n", "Content-Length: 22"],
  ["/none", "", "Status: 204"],
  ["/unchanged", "", "Status: 304"],
])("frames the answer of %s, so that another can follow", async (path, body, framing) => {
  using session = connected(instance);
  const answer = await ask(session, kept(path));
  expect(answer.body).toBe(body);
  expect(answer.head).toContain(framing);
  await expectAlive(session);
});

test("answers HEAD without a body, framed or not", async () => {
  using session = connected(instance);
  for (const path of ["/cookies", "/pieces"]) {
    await sendAll(session.number, kept(path, { REQUEST_METHOD: "HEAD" }));
    expect(await readHead(session)).toStartWith("Status: 20");
    await expectAlive(session);
  }
});

test("takes bodies by their length", async () => {
  using session = connected(instance);
  for (const body of ["one", "", "three"]) {
    expect((await ask(session, kept("/echo", sized(body), body))).body).toBe(body);
  }
  // Without either there is none.
  expect((await ask(session, kept("/echo", { REQUEST_METHOD: "POST" }))).body).toBe("");
});

test("takes the chunks out of a body, with their extensions and trailers", async () => {
  using session = connected(instance);
  const body = "3\r\none\r\nA;ext=1\r\n and a two\r\n0\r\nTrailer: x\r\n\r\n";
  expect((await ask(session, kept("/echo", chunked, body))).body).toBe("one and a two");
  await expectAlive(session);
  const environ = await ask(session, kept("/environ", chunked, "0\r\n\r\n"));
  expect(environ.body).not.toContain("TRANSFER_ENCODING");
});

test("takes a chunked body that arrives byte by byte", async () => {
  using session = connected(instance);
  for (const byte of kept("/echo", chunked, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")) {
    send(session.number, new Uint8Array([byte]));
    if (byte % 8 === 0) await Bun.sleep(1);
  }
  expect((await nextAnswer(session)).body).toBe("abc");
  await expectAlive(session);
});

test.each([
  ["a size that is none", "x\r\n", "a chunk's size is no number"],
  ["a size with a sign", "+1\r\na\r\n", "a chunk's size is no number"],
  ["a space before a size", " 1\r\na\r\n", "a chunk's size is no number"],
  ["a size beyond all", `${"f".repeat(16)}\r\n`, "a chunk's size is no number"],
  ["a chunk that is longer", "1\r\nab\r\n", "a chunk is longer than its size"],
  ["a line without an end", `1;${"x".repeat(5_000)}`, "a line between chunks exceeds 4096 bytes"],
  ["trailers without an end", `0\r\n${"a: b\r\n".repeat(102)}`, "more than 100 trailers"],
])("refuses a chunked body with %s, and the session with it", async (_, body, why) => {
  using session = connected(instance);
  await sendAll(session.number, kept("/echo", chunked, body));
  const text = await readToEnd(session.number);
  expect(text).toStartWith("Status: 400 Bad Request");
  expect(text).toContain(why);
});

test.each([
  ["both a length and chunks", { ...chunked, CONTENT_LENGTH: "3" }],
  ["another encoding", { REQUEST_METHOD: "POST", HTTP_TRANSFER_ENCODING: "gzip, chunked" }],
])("refuses a body of %s", async (_, variables) => {
  using session = connected(instance);
  await sendAll(session.number, kept("/echo", variables, "3\r\nabc\r\n0\r\n\r\n"));
  const text = await readToEnd(session.number);
  expect(text).toContain("the body is neither of a length nor chunked");
});

test("lets a body be read to its end and not beyond, whatever its form", async () => {
  using session = connected(instance);
  const next = kept("/cookies");
  const both = Buffer.concat([kept("/echo", chunked, "3\r\nabc\r\n0\r\n\r\n"), next]);
  expect((await ask(session, both)).body).toBe("abc");
  expect((await nextAnswer(session)).body).toBe("x");
  const sizedBoth = Buffer.concat([kept("/readers", sized("abc"), "abc"), next]);
  expect((await ask(session, sizedBoth)).body).toStartWith("[b'abc', b''");
  expect((await nextAnswer(session)).body).toBe("x");
});

test("throws away what came with the head and was not read, before the next request", async () => {
  using session = connected(instance);
  const { head, body } = await ask(session, kept("/cookies", sized("unread"), "unread"));
  expect(body).toBe("x");
  expect(head).not.toContain("Connection");
  await expectAlive(session);
});

const last = "\r\nConnection: close\r\n";

test.each([
  ["of 80,000 bytes", "/cookies", sized("x".repeat(80_000)), "x".repeat(80_000)],
  ["of 600,000 bytes", "/cookies", sized("x".repeat(600_000)), "x".repeat(600_000)],
  ["in chunks", "/cookies", chunked, "6\r\nunread\r\n0\r\n\r\n"],
  ["that is still coming", "/cookies", { ...sized(""), CONTENT_LENGTH: "9" }, "half"],
  ["of which it can make nothing", "/raising", { ...sized(""), CONTENT_LENGTH: "9" }, "half"],
])("says that it ends the session where nobody read a body %s", async (_, path, more, body) => {
  using session = connected(instance);
  expect((await ask(session, kept(path, more, body))).head).toContain(last);
  expect(await readToEnd(session.number)).toBe("");
});

test("says that it ends the session where the answer begins before the body is read", async () => {
  using session = connected(instance);
  await sendAll(session.number, kept("/early", { ...sized(""), CONTENT_LENGTH: "4" }));
  expect(await readHead(session)).toContain(last);
  await sendAll(session.number, Buffer.from("body"));
  expect(await readToEnd(session.number)).toBe("6\r\nearly \r\n4\r\nbody\r\n0\r\n\r\n");
});

test("says nothing of a session's end to who does not keep it", async () => {
  const request = get({ PATH_INFO: "/cookies", ...sized("unread") });
  expect(await exchange(instance, request)).not.toContain("Connection");
});

test.each(["/late", "/announced?4,abc"])(
  "ends a session whose answer %s is not whole, without saying it was",
  async (path) => {
    using session = connected(instance);
    await sendAll(session.number, kept(path));
    const text = await readToEnd(session.number);
    expect(text).toMatch(path === "/late" ? /5\r\nbegin\r\n$/ : /\r\n\r\nabc$/);
  },
);

test("ends a session after a request that does not ask to keep it", async () => {
  using session = connected(instance);
  await expectAlive(session);
  await sendAll(session.number, get({ PATH_INFO: "/pieces" }));
  expect(await readToEnd(session.number)).toEndWith("\r\n\r\none two");
});

test("serves new sessions and other kept ones while it holds some", async () => {
  const sessions = Array.from({ length: 50 }, () => connected(instance));
  for (const session of sessions) await expectAlive(session);
  expect(await exchange(instance, get({ PATH_INFO: "/empty" }))).toStartWith("Status: 200 OK");
  await Promise.all(sessions.toReversed().map(expectAlive));
  for (const session of sessions) session.close();
});

test("starves nobody: who asks without a pause, who is new, and who has waited", async () => {
  const greedy = Array.from({ length: 3 }, () => connected(instance));
  const patient = connected(instance);
  await expectAlive(patient);
  const over = new AbortController();
  const pestering = greedy.map(async (session) => {
    while (!over.signal.aborted) await expectAlive(session);
  });
  await expectAlive(patient);
  expect(await exchange(instance, get({ PATH_INFO: "/empty" }))).toStartWith("Status: 200 OK");
  over.abort();
  await Promise.all(pestering);
  for (const session of [...greedy, patient]) session.close();
});

test("keeps 200 sessions, and ends those beyond after their answer", async () => {
  const sessions = Array.from({ length: 200 }, () => connected(instance));
  for (const session of sessions) await expectAlive(session);
  using beyond = connected(instance);
  await sendAll(beyond.number, kept("/cookies"));
  const text = await readToEnd(beyond.number);
  expect(text).toEndWith("\r\n\r\nx");
  expect(text).toContain(last);
  // Those that it has stay.
  for (const session of sessions) await expectAlive(session);
  for (const session of sessions) session.close();
});

test("lets what is silent wait in the backlog when it holds too many", async () => {
  const silent = Array.from({ length: 260 }, () => connected(instance));
  const held = () =>
    [...openDescriptors(instance.pid).values()].filter((what) => what.startsWith("socket:")).length;
  await until("it holds as many as it may", () => held() === 252, held);
  for (const session of silent) session.close();
  expect(await exchange(instance, get({ PATH_INFO: "/empty" }))).toStartWith("Status: 200 OK");
});

test("lets go of a session that its client ends", async () => {
  const session = connected(instance);
  await expectAlive(session);
  endWriting(session.number);
  expect(await readToEnd(session.number)).toBe("");
  session.close();
  const sockets = () =>
    [...openDescriptors(instance.pid).values()].filter((what) => what.startsWith("socket:"));
  await until("only listener and lifeline are left", () => sockets().length === 2, sockets);
});
