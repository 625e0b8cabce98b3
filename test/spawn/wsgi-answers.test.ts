/** Answers of wsgi applications: whatever an application returns, and what is never sent of it. */
import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

import type { Instance } from "../../src/spawn/spawner.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, exchange, parseAnswer, writeApp } from "./support.ts";
import { application, to, wsgiRequest } from "./wsgi-programs.ts";

const { directory, spawner, lines, isTold } = spawnerScene();
let instance: Instance;

const fileContent = "0123456789".repeat(100_000);

beforeAll(async () => {
  const root = writeApp(directory, "app", { "wsgi.py": application });
  writeFileSync(`${root}/wsgi.py.data`, fileContent);
  writeFileSync(`${root}/wsgi.py.gz`, gzipSync("unpacked"));
  instance = await spawner.spawn(wsgiRequest(root));
});

async function ask(bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

test("answers with status, reason and every header, repeated ones too", async () => {
  expect(await ask(to("/cookies"))).toEqual({
    status: "Status: 201 As You Like",
    headers: [
      "Content-Type: text/plain",
      "Set-Cookie: a=1",
      "X-One: 1",
      "Set-Cookie: b=2",
      "Content-Length: 1",
    ],
    body: "x",
  });
});

test.each([
  ["/pieces", "one two"],
  ["/generator", "ab"],
  ["/lazy", "lazy"],
  ["/write", "written returned"],
])("sends the pieces of %s as they come, to the end of the session", async (path, body) => {
  const answer = await ask(to(path));
  expect(answer.body).toBe(body);
  expect(answer.headers.join()).not.toMatch(/length|encoding/i);
});

test("sends an answer that is larger than every buffer", async () => {
  expect((await ask(to("/big"))).body.length).toBe(5_000_000);
});

test("answers HEAD without a body, with the length of the one it leaves out", async () => {
  const big = await ask(to("/big", { REQUEST_METHOD: "HEAD" }));
  expect(big.headers).toContain("Content-Length: 5000000");
  expect(big.body).toBe("");
  const file = await ask(to("/file", { REQUEST_METHOD: "HEAD" }));
  expect(file.headers).toEqual(["Content-Length: 1000000"]);
  expect(file.body).toBe("");
  for (const path of ["/pieces", "/lazy", "/endless"]) {
    expect((await ask(to(path, { REQUEST_METHOD: "HEAD" }))).body).toBe("");
  }
});

test("answers 204 and 304 without a body, and the first without a length", async () => {
  expect(await ask(to("/none"))).toEqual({
    status: "Status: 204 No Content",
    headers: [],
    body: "",
  });
  expect(await ask(to("/unchanged"))).toEqual({
    status: "Status: 304 Not Modified",
    headers: ['ETag: "1"'],
    body: "",
  });
});

test.each([
  ["205 Reset Content", ["Content-Length: 0"], ""],
  ["304 Not Modified&Content-Length=7", ["Content-Length: 7"], ""],
  ["204 No Content&Content-Length=7", [], ""],
  ["299 Its Own Words", ["Content-Length: 4"], "body"],
  ["799", ["Content-Length: 4"], "body"],
  [
    "200 OK&Content-Length=4&X-A=1&Connection=close, x-a,X-B&X-B=2&X-C=3",
    ["Content-Length: 4", "X-C: 3"],
    "body",
  ],
])("answers %s by the rules of HTTP", async (query, headers, body) => {
  const status = `Status: ${query.split("&")[0]}`;
  expect(await ask(to(`/answer?${query}`))).toEqual({ status, headers, body });
});

test("sends the head with the first piece that is written, which may be empty", async () => {
  using session = connected(instance);
  await sendAll(session.number, to("/flush"));
  expect(await readExactly(session.number, 18)).toBe("Status: 200 OK\r\n\r\n");
  await Bun.write(`${directory}/app/go-on`, "");
  expect(await readToEnd(session.number)).toBe("at last");
});

test("says that nothing comes where nothing comes", async () => {
  expect((await ask(to("/empty"))).headers).toEqual(["Content-Length: 0"]);
});

test("cuts a body that is longer than announced, and tells of one that is shorter", async () => {
  expect((await ask(to("/announced?2,abc"))).body).toBe("ab");
  await isTold("the body is longer than its Content-Length of 2");
  expect((await ask(to("/announced?4,abc"))).body).toBe("abc");
  await isTold("GET '/announced': the body has 3 bytes of 4 announced");
});

test.each([
  ["", fileContent, "1000000"],
  ["short", "0123", "4"],
  ["middle", "0123456789", "10"],
  ["temporary", "temporary file", "14"],
  ["gzip", "unpacked", undefined],
  ["pipe", "from a pipe\n", undefined],
  ["proc", "python3\n", undefined],
])("sends a file (%s) from where it stands, and closes it", async (kind, content, length) => {
  await ask(to("/closings"));
  const { headers, body } = await ask(to(`/file?${kind}`));
  expect(body === content).toBe(true);
  expect(headers).toEqual(length === undefined ? [] : [`Content-Length: ${length}`]);
  expect((await ask(to("/closings"))).body).toBe('["file"]');
});

test("answers 500 to an exception, and tells where it was raised on stderr only", async () => {
  lines.length = 0;
  const { status, body } = await ask(to("/raising"));
  expect(status).toBe("Status: 500 Internal Server Error");
  expect(body).toBe("Internal Server Error\n");
  await isTold("RuntimeError: thrown <here>");
  const trace = lines.join("\n");
  expect(trace).toStartWith("GET '/raising':\nTraceback");
  expect(trace).toContain("/app/wsgi.py");
  expect(trace).toContain("in raising");
  expect(trace).not.toContain("session.py");
});

test.each([
  ["/twice", "start_response was called twice"],
  ["/silent", "the application did not call start_response"],
  ["/wrong?text", "the body is made of bytes, not str"],
  ["/wrong?string", "the body is made of bytes, not str"],
  ["/wrong?none", "TypeError"],
  ["/wrong?header", "TypeError"],
  ["/status?20x%20Odd", "the status '20x%20Odd' is not three digits and a reason"],
  ["/status?200%20OK", "the status '200%20OK' is not three digits and a reason"],
  ["/answer?103 Early Hints", "the status '103 Early Hints' ends no request"],
  ["/announced?x,abc", "Content-Length is 'x'"],
])("answers 500 to %s and says why", async (path, why) => {
  lines.length = 0;
  expect((await ask(to(path))).status).toBe("Status: 500 Internal Server Error");
  await isTold(why);
});

test.each([
  ["a line end in a value", "/inject?X-A=a\\r\\nX-Evil:1"],
  ["a bare line feed in a value", "/inject?X-A=a\\nX-Evil:1"],
  ["a carriage return in a value", "/inject?X-A=a\\rX-Evil:1"],
  ["a NUL in a value", "/inject?X-A=a\\0b"],
  ["a line end in a name", "/inject?X-A\\r\\nX-Evil=1"],
  ["a space in a name", "/inject?X A=1"],
  ["a colon in a name", "/inject?X:A=1"],
  ["no name", "/inject?=1"],
  ["a line end in the status", "/status?200 OK\\r\\nX-Evil: 1"],
])("never sends %s", async (_, path) => {
  const text = await exchange(instance, to(path));
  expect(text).not.toContain("X-Evil");
  expect(parseAnswer(text).status).toBe("Status: 500 Internal Server Error");
});

test("replaces an answer with exc_info while nothing is out, and only then", async () => {
  const answer = await ask(to("/replaced"));
  expect(answer.status).toBe("Status: 503 Later");
  expect(answer.headers).toEqual(["X-Second: 1", "Content-Length: 8"]);
  expect((await ask(to("/too_late"))).body).toBe("begin");
  await isTold("ValueError: it is too late");
});

test("drops headers that describe a connection", async () => {
  const { headers } = await ask(to("/connection"));
  expect(headers).toEqual(["Content-Type: text/plain", "X-Kept: 1", "Content-Length: 1"]);
});

test("closes what was returned exactly once, however it ends", async () => {
  await ask(to("/closings"));
  await ask(to("/pieces"));
  await ask(to("/pieces", { REQUEST_METHOD: "HEAD" }));
  await ask(to("/late"));
  await isTold("RuntimeError: stream broke");
  expect((await ask(to("/closings"))).body).toBe('["pieces", "pieces", "late"]');
  expect((await ask(to("/late_close"))).body).toBe("whole");
  await isTold("RuntimeError: close broke");
});

test("ends quietly what a client does not take any more, and closes it", async () => {
  await ask(to("/closings"));
  lines.length = 0;
  using session = connected(instance);
  await sendAll(session.number, to("/endless"));
  await readExactly(session.number, 1_000);
  session.close();
  expect((await ask(to("/closings"))).body).toBe('["endless"]');
  expect(lines).toEqual([]);
});
