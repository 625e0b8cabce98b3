/** Sessions of wsgi applications: requests in, PEP 3333's environ, and answers out. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { send } from "../../src/native/socket.ts";
import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import {
  connected,
  endWriting,
  exchange,
  get,
  head,
  notebook,
  parseAnswer,
  post,
  writeApp,
} from "./support.ts";
import { application, validated, wsgiRequest } from "./wsgi-programs.ts";

const never = new AbortController().signal;
const directory = mkdtempSync(join(tmpdir(), "pool-"));
const lines: string[] = [];
const spawner = new BuiltinSpawner({
  notify: notebook().notify,
  writeOutput: (_pid, _root, line) => lines.push(line),
  baseDirectory: directory,
});
let instance: Instance;
let checked: Instance;

function started(name: string, source: string): Promise<Instance> {
  const root = writeApp(directory, name, { "wsgi.py": source });
  writeFileSync(`${root}/wsgi.py.data`, fileContent);
  writeFileSync(`${root}/wsgi.py.gz`, gzipSync("unpacked"));
  return spawner.spawn(wsgiRequest(root));
}

const fileContent = "0123456789".repeat(100_000);

beforeAll(async () => {
  [instance, checked] = await Promise.all([
    started("app", application),
    started("checked", validated),
  ]);
});

afterAll(async () => {
  instance.release();
  checked.release();
  await spawner.close(never);
  rmSync(directory, { recursive: true });
});

async function ask(bytes: Uint8Array, of = instance) {
  return parseAnswer(await exchange(of, bytes));
}

/** A GET as front ends send it. */
function to(path: string, more: Readonly<Record<string, string>> = {}): Uint8Array {
  const [pathInfo = "", query = ""] = path.split("?");
  return get({ REQUEST_URI: path, PATH_INFO: pathInfo, QUERY_STRING: query, ...more });
}

function told(what: string): Promise<unknown> {
  return until(
    `${what} is told`,
    () => lines.some((line) => line.includes(what)),
    () => lines,
  );
}

async function environOf(variables: Readonly<Record<string, string>>) {
  const answer = await ask(to("/environ", variables));
  return JSON.parse(answer.body) as Record<string, unknown>;
}

test("makes an environ of the head", async () => {
  const environ = await environOf({
    QUERY_STRING: "a=b%20c",
    CONTENT_TYPE: "text/x",
    CONTENT_LENGTH: "0",
    HTTP_HOST: "app.test",
    HTTP_COOKIE: "a=1; b=2",
    REMOTE_ADDR: "127.0.0.1",
    SCRIPT_NAME: "/mounted",
    SESSION_KEEP: "0",
  });
  expect(environ).toEqual({
    REQUEST_METHOD: "GET",
    REQUEST_URI: "/environ",
    SCRIPT_NAME: "/mounted",
    PATH_INFO: "/environ",
    QUERY_STRING: "a=b%20c",
    SERVER_NAME: "example.com",
    SERVER_PORT: "80",
    SERVER_PROTOCOL: "HTTP/1.1",
    CONTENT_TYPE: "text/x",
    CONTENT_LENGTH: "0",
    HTTP_HOST: "app.test",
    HTTP_COOKIE: "a=1; b=2",
    REMOTE_ADDR: "127.0.0.1",
    "wsgi.url_scheme": "http",
    "wsgi.multithread": false,
    "wsgi.multiprocess": true,
    "wsgi.run_once": false,
    "wsgi.input_terminated": true,
  });
});

test("fills in what PEP 3333 wants and a front end left out", async () => {
  const bytes = head({ REQUEST_METHOD: "GET", REQUEST_URI: "/envi%72on?x=%41", HTTPS: "on" });
  expect(JSON.parse((await ask(bytes)).body)).toMatchObject({
    SCRIPT_NAME: "",
    PATH_INFO: "/environ",
    QUERY_STRING: "x=%41",
    SERVER_NAME: "localhost",
    SERVER_PORT: "443",
    SERVER_PROTOCOL: "HTTP/1.1",
    "wsgi.url_scheme": "https",
  });
});

test("joins repeated headers into one list, cookies into one cookie", async () => {
  const repeated = Buffer.from(
    "REQUEST_METHOD\0GET\0PATH_INFO\0/environ\0HTTP_X\0a\0HTTP_X\0b\0HTTP_COOKIE\0c\0HTTP_COOKIE\0d\0",
  );
  expect(JSON.parse((await ask(framed(repeated))).body)).toMatchObject({
    HTTP_X: "a, b",
    HTTP_COOKIE: "c; d",
  });
});

test("lets no header become a proxy, a second length, or one of its own variables", async () => {
  const environ = await environOf({
    HTTP_PROXY: "evil",
    HTTP_CONTENT_LENGTH: "9",
    HTTP_CONTENT_TYPE: "evil",
    "wsgi.url_scheme": "evil",
    "wsgi.multithread": "evil",
  });
  expect(Object.values(environ)).not.toContain("evil");
  expect(environ["HTTP_CONTENT_LENGTH"]).toBeUndefined();
});

test("hands bytes on as they are, decoded as Latin-1", async () => {
  const environ = await environOf({ QUERY_STRING: "\xc3\xab\xff" });
  expect(environ["QUERY_STRING"]).toBe("\xc3\xab\xff");
});

test.each([
  ["a GET", to("/environ?warnings"), '"REQUEST_METHOD": "GET"'],
  ["a POST", post("body", { PATH_INFO: "/count", QUERY_STRING: "warnings" }), "4"],
  ["a HEAD", to("/environ?warnings", { REQUEST_METHOD: "HEAD" }), ""],
  ["a generator", to("/generator"), "ab"],
  ["a repeated header", to("/cookies"), "x"],
])("passes the checker of PEP 3333 with %s", async (_, bytes, expected) => {
  const { status, body } = await ask(bytes, checked);
  expect(status).toStartWith("Status: 20");
  expect(body).toContain(expected);
});

test("reads a body by its length, without waiting for the client's end", async () => {
  using session = connected(instance);
  await sendAll(session.number, post("hello", { PATH_INFO: "/echo" }));
  expect(parseAnswer(await readToEnd(session.number)).body).toBe("hello");
});

test("reads a body without a length to the client's end", async () => {
  const start = to("/echo", { REQUEST_METHOD: "PUT" });
  expect((await ask(Buffer.concat([start, Buffer.from("to the end")]))).body).toBe("to the end");
});

test("takes no body where the length is 0, nor with GET", async () => {
  expect((await ask(post("", { PATH_INFO: "/echo" }))).body).toBe("");
  using session = connected(instance);
  await sendAll(session.number, to("/echo"));
  expect(parseAnswer(await readToEnd(session.number)).body).toBe("");
});

test("reads no further than the body", async () => {
  const bytes = Buffer.concat([post("abc", { PATH_INFO: "/echo" }), Buffer.from("def")]);
  expect((await ask(bytes)).body).toBe("abc");
});

test("reads bodies as files are read", async () => {
  const { body } = await ask(post("abcdef\nghi\njk\nlm\nno", { PATH_INFO: "/readers" }));
  const parts = "[b'abc', b'def\\n', b'gh', [b'i\\n', b'jk\\n'], [b'lm\\n', b'no'], b'', b'', b'']";
  expect(body).toBe(parts);
});

test("reads a request that arrives byte by byte", async () => {
  using session = connected(instance);
  for (const byte of post("hi", { PATH_INFO: "/echo" })) {
    send(session.number, new Uint8Array([byte]));
    if (byte % 16 === 0) await Bun.sleep(1);
  }
  expect(parseAnswer(await readToEnd(session.number)).body).toBe("hi");
});

test("streams a body that is larger than every buffer", async () => {
  const size = 3_000_000;
  using session = connected(instance);
  await sendAll(
    session.number,
    to("/count", { REQUEST_METHOD: "POST", CONTENT_LENGTH: `${size}` }),
  );
  await sendAll(session.number, Buffer.alloc(size, "b"));
  expect(parseAnswer(await readToEnd(session.number)).body).toBe(String(size));
});

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
  expect((await ask(to("/pieces", { REQUEST_METHOD: "HEAD" }))).body).toBe("");
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

test("says that nothing comes where nothing comes", async () => {
  expect((await ask(to("/empty"))).headers).toEqual(["Content-Length: 0"]);
});

test("cuts a body that is longer than announced, and tells of one that is shorter", async () => {
  expect((await ask(to("/announced?2,abc"))).body).toBe("ab");
  await told("the body is longer than its Content-Length of 2");
  expect((await ask(to("/announced?4,abc"))).body).toBe("abc");
  await told("the body has 3 bytes, its Content-Length is 4");
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
  await told("RuntimeError: thrown <here>");
  const trace = lines.join("\n");
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
  ["/announced?x,abc", "Content-Length is 'x'"],
])("answers 500 to %s and says why", async (path, why) => {
  lines.length = 0;
  expect((await ask(to(path))).status).toBe("Status: 500 Internal Server Error");
  await told(why);
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
  await told("ValueError: it is too late");
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
  await told("RuntimeError: stream broke");
  expect((await ask(to("/closings"))).body).toBe('["pieces", "pieces", "late"]');
  expect((await ask(to("/late_close"))).body).toBe("whole");
  await told("RuntimeError: close broke");
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

test("ends quietly a request whose body its client breaks off", async () => {
  lines.length = 0;
  const start = to("/echo", { REQUEST_METHOD: "POST", CONTENT_LENGTH: "100" });
  const text = await exchange(instance, Buffer.concat([start, Buffer.from("part")]));
  expect(text).toBe("");
  await ask(to("/empty"));
  expect(lines).toEqual([]);
});

test("answers a client whose body nobody reads, and takes the rest of it in", async () => {
  using session = connected(instance);
  const size = 400_000;
  const start = to("/empty", { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(size) });
  await sendAll(session.number, Buffer.concat([start, Buffer.alloc(size, "b")]));
  expect(parseAnswer(await readToEnd(session.number)).status).toBe("Status: 200 OK");
});

test("serves others while a client still sends a body that nobody reads", async () => {
  using session = connected(instance);
  await sendAll(session.number, to("/empty", { REQUEST_METHOD: "POST", CONTENT_LENGTH: "9000" }));
  expect(parseAnswer(await readToEnd(session.number)).status).toBe("Status: 200 OK");
  expect((await ask(to("/empty"))).status).toBe("Status: 200 OK");
});

function framed(payload: Uint8Array): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(payload.length);
  return Buffer.concat([size, payload]);
}

const refused: readonly (readonly [string, Uint8Array, string])[] = [
  ["no headers at all", head({}), "the headers do not end with a NUL"],
  ["no method", head({ REQUEST_URI: "/" }), "REQUEST_METHOD is missing"],
  [
    "a name without a value",
    framed(Buffer.from("REQUEST_METHOD\0GET\0ALONE\0")),
    "a header lacks its value",
  ],
  ["no last NUL", framed(Buffer.from("REQUEST_METHOD\0GET")), "the headers do not end with a NUL"],
  ["an empty name", framed(Buffer.from("REQUEST_METHOD\0GET\0\0x\0")), "a header lacks its name"],
  ["a size beyond the limit", Buffer.from([0, 2, 0, 1]), "headers of 131073 bytes, 131072 at most"],
  ["a length that is none", get({ CONTENT_LENGTH: "-1" }), "CONTENT_LENGTH is not a length"],
  [
    "a length beyond all",
    get({ CONTENT_LENGTH: "9".repeat(30) }),
    "CONTENT_LENGTH is not a length",
  ],
  ["a line end in a header", get({ HTTP_X: "a\r\nb: c" }), "the value of 'HTTP_X' has a line end"],
  ["a method that is none", get({ REQUEST_METHOD: "A B" }), "the method 'A B' is not one of HTTP"],
];

test.each(refused)("refuses a request with %s and goes on serving", async (_, bytes, why) => {
  const { status, body } = await ask(bytes);
  expect(status).toBe("Status: 400 Bad Request");
  expect(body).toBe(`Bad request: ${why}.\n`);
  expect((await ask(to("/empty"))).status).toBe("Status: 200 OK");
});

test("takes headers of 128 KiB", async () => {
  const room = 128 * 1024 - (to("/echo", { HTTP_X: "" }).length - 4);
  expect((await ask(to("/echo", { HTTP_X: "x".repeat(room) }))).status).toBe("Status: 200 OK");
});

test("says nothing to a client that leaves before its head is whole", async () => {
  expect(await exchange(instance, get().subarray(0, 9))).toBe("");
  expect(await exchange(instance, new Uint8Array(0))).toBe("");
});

test("does not wait for a client that has not sent its head", async () => {
  using silent = connected(instance);
  using slow = connected(instance);
  await sendAll(slow.number, to("/empty").subarray(0, 50));
  expect((await ask(to("/empty"))).status).toBe("Status: 200 OK");
  await sendAll(slow.number, to("/empty").subarray(50));
  expect(parseAnswer(await readToEnd(slow.number)).status).toBe("Status: 200 OK");
  endWriting(silent.number);
  expect(await readToEnd(silent.number)).toBe("");
});

test("serves one session at a time, the rest in their turn", async () => {
  using first = connected(instance);
  await sendAll(first.number, to("/wait"));
  await readExactly(first.number, 1_000);
  const late = exchange(instance, to("/empty"));
  expect(await Promise.race([late, Bun.sleep(50).then(() => "still waiting")])).toBe(
    "still waiting",
  );
  first.close();
  expect(parseAnswer(await late).status).toBe("Status: 200 OK");
});

test("gives programs that the application starts nothing of its own", async () => {
  expect((await ask(to("/child"))).body).toBe("[0, 1, 2]\n");
});

test("ends a session although a child of the application lives on", async () => {
  const { body } = await ask(to("/forked"));
  expect([...openDescriptors(Number(body)).keys()].toSorted()).toEqual([0, 1, 2]);
  process.kill(Number(body), "SIGKILL");
});

test("lets no child of the application answer a second time, or serve on", async () => {
  expect((await ask(to("/fork_and_return"))).body).toBe("from the parent");
});

test("holds no descriptor of a session that is over", async () => {
  const sockets = () =>
    [...openDescriptors(instance.pid).values()].filter((what) => what.startsWith("socket:"));
  await until("only listener and lifeline are left", () => sockets().length === 2, sockets);
});
