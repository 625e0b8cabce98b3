/** HTTP of ASGI applications: what their scopes hold, what they receive, what they may send. */
import { beforeAll, describe, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { application, asgiRequest } from "./asgi-programs.ts";
import { nextAnswer, readHead } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import {
  bodyNames,
  connected,
  endWriting,
  exchange,
  get,
  head,
  manyBytes,
  parseAnswer,
  post,
  writeApp,
} from "./support.ts";

const { directory, spawner, lines, isTold } = spawnerScene();
const file = "0123456789".repeat(1_000_000);
let instance: Instance;

beforeAll(async () => {
  const root = writeApp(directory, "app", { "asgi.py": application, file });
  instance = await spawner.spawn(asgiRequest(root));
});

const to = (path: string, more: Readonly<Record<string, string>> = {}) =>
  get({ REQUEST_URI: path, ...more });
const kept = (path: string, more: Readonly<Record<string, string>> = {}) =>
  to(path, { SESSION_KEEP: "1", ...more });

async function ask(bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

async function scopeOf(variables: Readonly<Record<string, string>>) {
  const { body } = await ask(to("/scope", { PATH_INFO: "/scope", ...variables }));
  return JSON.parse(body) as Record<string, unknown>;
}

describe("a scope", () => {
  test("has all that the specification names", async () => {
    const scope = await scopeOf({
      REQUEST_URI: "/scope?a=%20b",
      QUERY_STRING: "a=%20b",
      REMOTE_ADDR: "203.0.113.9",
      REMOTE_PORT: "4711",
      HTTP_HOST: "app.test",
      HTTP_X_ONE: "1",
    });
    expect(scope).toEqual({
      type: "http",
      asgi: { version: "3.0", spec_version: "2.4" },
      http_version: "1.1",
      method: "GET",
      scheme: "http",
      path: "/scope",
      raw_path: "/scope",
      query_string: "a=%20b",
      root_path: "",
      headers: [
        ["host", "app.test"],
        ["x-one", "1"],
      ],
      client: ["203.0.113.9", 4711],
      server: ["example.com", 80],
      state: { begun: ["by the lifespan"] },
      extensions: { "http.response.pathsend": {} },
    });
  });

  test.each([
    ["its method as it came", { REQUEST_METHOD: "PURGE" }, { method: "PURGE" }],
    ["the scheme of the front end", { HTTPS: "on" }, { scheme: "https" }],
    ["the version", { SERVER_PROTOCOL: "HTTP/1.0" }, { http_version: "1.0" }],
    ["no client where none is told", { REMOTE_ADDR: "" }, { client: null }],
    ["port 0 where none is told", { REMOTE_ADDR: "::1" }, { client: ["::1", 0] }],
    [
      "the path whole below a prefix",
      { SCRIPT_NAME: "/scope", PATH_INFO: "", REQUEST_URI: "/scope" },
      { root_path: "/scope", path: "/scope", raw_path: "/scope" },
    ],
    [
      "the path of an absolute target",
      { REQUEST_URI: "http://app.test/scope?x" },
      { raw_path: "/scope" },
    ],
    [
      "repeated headers, each in its place",
      { HTTP_X_A: "1", HTTP_COOKIE: "a=1" },
      {
        headers: [
          ["x-a", "1"],
          ["cookie", "a=1"],
        ],
      },
    ],
    [
      "no header of the connection",
      { HTTP_CONNECTION: "x", HTTP_KEEP_ALIVE: "5" },
      { headers: [] },
    ],
    ["early hints where they are understood", { SESSION_KEEP: "1" }, {}],
  ])("has %s", async (_what, variables, expected) => {
    expect(await scopeOf(variables)).toMatchObject(expected);
  });

  test("has its path decoded, as UTF-8, and raw as it was sent", async () => {
    const request = { REQUEST_URI: "/echo%2F", PATH_INFO: "/scope" };
    expect(await scopeOf(request)).toMatchObject({ path: "/scope", raw_path: "/echo%2F" });
  });

  test("repeats headers that are repeated", async () => {
    const bytes = Buffer.from(
      "REQUEST_METHOD\0GET\0PATH_INFO\0/scope\0HTTP_X_A\x001\0HTTP_X_B\x002\0HTTP_X_A\x003\0",
    );
    const size = Buffer.alloc(4);
    size.writeUInt32BE(bytes.length);
    const { body } = await ask(Buffer.concat([size, bytes]));
    expect((JSON.parse(body) as { headers: unknown }).headers).toEqual([
      ["x-a", "1"],
      ["x-b", "2"],
      ["x-a", "3"],
    ]);
  });

  test.each(bodyNames)("has length and type of a body once: %s", async (_what, variables) => {
    const start = to("/scope", { REQUEST_METHOD: "POST", ...variables });
    const { body } = await ask(Buffer.concat([start, Buffer.from("abcd")]));
    const { headers } = JSON.parse(body) as { headers: string[][] };
    expect(headers.toSorted((a, b) => String(a[0]).localeCompare(String(b[0])))).toEqual([
      ["content-length", "4"],
      ["content-type", "text/x"],
    ]);
  });

  test("has a copy of the lifespan's state", async () => {
    await scopeOf({});
    expect(await scopeOf({})).toMatchObject({ state: { begun: ["by the lifespan"] } });
  });
});

describe("refused with 400:", () => {
  test.each([
    ["no method", head({ PATH_INFO: "/" }), "REQUEST_METHOD is missing"],
    ["a method that is none", to("/echo", { REQUEST_METHOD: "G T" }), "is not one of HTTP"],
    ["a line end in a header", to("/echo", { HTTP_X: "a\nb" }), "has a line end"],
    ["a header that is none", to("/echo", { "HTTP_A B": "c" }), "is not one of HTTP"],
    ["a length that is none", to("/echo", { CONTENT_LENGTH: "-1" }), "is not a length"],
    ["two lengths", to("/echo", { CONTENT_LENGTH: "1", HTTP_CONTENT_LENGTH: "2" }), "two of"],
    ["giant headers", Buffer.from([0, 2, 0, 1]), "headers of 131073 bytes, 131072 at most"],
    ["bytes that are no head", Buffer.from([0, 0, 0, 3, 65, 66, 67]), "do not end with a NUL"],
    ["a header without a value", Buffer.from([0, 0, 0, 2, 65, 0]), "lacks its value"],
  ])("%s", async (_what, bytes, why) => {
    const { status, body } = await ask(bytes);
    expect(status).toBe("Status: 400 Bad Request");
    expect(body).toContain(why);
  });
});

describe("receive", () => {
  test("gives the body, all values of a byte, in pieces that end", async () => {
    const { bytes } = manyBytes();
    expect((await ask(post(bytes, { REQUEST_URI: "/echo" }))).body).toBe(bytes);
    const open = to("/echo", { REQUEST_METHOD: "POST" });
    expect((await ask(Buffer.concat([open, Buffer.from(bytes, "latin1")]))).body).toBe(bytes);
  });

  test("gives one empty piece where there is no body, and later that the answer is out", async () => {
    expect((await ask(to("/twice"))).body).toContain("'body': b'', 'more_body': False");
    await until("it has come back", async () => (await ask(to("/seen"))).body.includes("disc"));
  });

  test("lets a body through as it comes, both ways at once", async () => {
    using session = connected(instance);
    const start = kept("/stream", { REQUEST_METHOD: "POST", HTTP_TRANSFER_ENCODING: "chunked" });
    await sendAll(session.number, start);
    for (const piece of ["3\r\none\r\n", "3\r\ntwo\r\n"]) {
      await sendAll(session.number, Buffer.from(piece));
      let text = "";
      while (!text.includes(piece)) text += await readExactly(session.number, 1);
    }
    await sendAll(session.number, Buffer.from("0\r\n\r\n"));
    let text = "";
    while (!text.includes("0\r\n\r\n")) text += await readExactly(session.number, 1);
  });
});

/** What is sent, as `given` reads it: strings that begin with a colon are bytes. */
const begin = (headers: unknown[] = [], more: object = {}) => ({
  type: "http.response.start",
  status: 200,
  headers,
  ...more,
});
const data = (body: string, more = false) => ({
  type: "http.response.body",
  body: `:${body}`,
  more_body: more,
});

async function given(messages: readonly object[], method = "POST") {
  const text = JSON.stringify(messages);
  using session = connected(instance);
  const variables = { REQUEST_URI: "/given", REQUEST_METHOD: method, SESSION_KEEP: "1" };
  await sendAll(session.number, post(text, variables));
  const start = await readHead(session);
  endWriting(session.number);
  return start + (await readToEnd(session.number));
}

describe("an answer", () => {
  test.each([
    ["of one piece", [begin(), data("abc")], "Content-Length: 3\r\n\r\nabc"],
    ["of no piece", [begin(), data("")], "Content-Length: 0\r\n\r\n"],
    [
      "of several",
      [begin(), data("a", true), data("", true), data("b")],
      "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
    ],
    [
      "that begins with nothing",
      [begin(), data("", true), data("b")],
      "Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n",
    ],
    [
      "with a length",
      [begin([[":Content-Length", ":2"]]), data("a", true), data("b")],
      "Content-Length: 2\r\n\r\nab",
    ],
    [
      "without headers of the connection",
      [
        begin([
          [":Connection", ":close, X-Hop"],
          [":x-hop", ":1"],
          [":transfer-encoding", ":chunked"],
          [":x-a", ":b"],
        ]),
        data(""),
      ],
      "Status: 200 OK\r\nx-a: b\r\nContent-Length: 0\r\n\r\n",
    ],
    [
      "with cookies in their order",
      [
        begin([
          [":set-cookie", ":a=1"],
          [":x", ":y"],
          [":set-cookie", ":b=2"],
        ]),
        data(""),
      ],
      "set-cookie: a=1\r\nx: y\r\nset-cookie: b=2\r\n",
    ],
    [
      "of an unknown status",
      [begin([], { status: 299 }), data("")],
      "Status: 299 \r\nContent-Length: 0\r\n\r\n",
    ],
    [
      "204 without a body",
      [begin([], { status: 204 }), data("abc")],
      "Status: 204 No Content\r\n\r\n",
    ],
    ["304 without one", [begin([], { status: 304 }), data("")], "Status: 304 Not Modified\r\n\r\n"],
    [
      "with trailers, which are dropped",
      [
        begin([], { trailers: true }),
        data("abc"),
        { type: "http.response.trailers", headers: [], more_trailers: false },
      ],
      "Content-Length: 3\r\n\r\nabc",
    ],
    [
      "with its length twice: once",
      [
        begin([
          [":content-length", ":1"],
          [":Content-Length", ":1"],
        ]),
        data("a"),
      ],
      "200 OK\r\ncontent-length: 1\r\n\r\na",
    ],
    [
      "longer than it said: cut",
      [begin([[":content-length", ":2"]]), data("abc")],
      "content-length: 2\r\n\r\nab",
    ],
  ])("%s", async (_what, messages, expected) => {
    expect(await given(messages)).toEndWith(expected.startsWith("set-") ? "\r\n\r\n" : expected);
    expect(await given(messages)).toContain(expected);
  });

  test("to HEAD has the head alone", async () => {
    using session = connected(instance);
    await sendAll(session.number, kept("/seen", { REQUEST_METHOD: "HEAD" }));
    expect(await readHead(session)).toContain("Content-Length: 2\r\n");
    await sendAll(session.number, kept("/loop"));
    expect((await nextAnswer(session)).body).toBe("uvloop");
  });

  test("can be a file, sent by the kernel", async () => {
    using session = connected(instance);
    await sendAll(session.number, kept("/path"));
    expect((await nextAnswer(session)).body).toBe(file);
    await sendAll(session.number, kept("/path", { REQUEST_METHOD: "HEAD" }));
    expect(await readHead(session)).toContain(`Content-Length: ${file.length}\r\n`);
    expect((await ask(to("/path"))).body).toBe(file);
  });

  test("can have hints before it, where they are understood", async () => {
    using session = connected(instance);
    await sendAll(session.number, kept("/hint"));
    const hint = "Status: 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    expect(await readHead(session)).toBe(hint);
    expect((await nextAnswer(session)).body).toBe("hinted");
    expect((await ask(to("/hint"))).status).toBe("Status: 200 OK");
  });

  test("is no faster than its client", async () => {
    using session = connected(instance);
    await sendAll(session.number, kept("/flood"));
    await readHead(session);
    // A client that reads nothing stops it within what the kernel holds.
    let last = "";
    await until("it waits", async () => {
      const before = last;
      await Bun.sleep(20);
      last = (await ask(to("/count"))).body;
      return last === before;
    });
    expect(Number(last) * 10_000).toBeLessThan(4_000_000);
    await readExactly(session.number, 5_000_000);
    await until("it goes on", async () => (await ask(to("/count"))).body !== last);
    lines.length = 0;
    session.close();
    await isTold("flood is over");
    expect(lines).toEqual(["flood is over"]);
  });
});

describe("what may not be sent is a 500, and the log names the message:", () => {
  test.each([
    [[data("a")], "the application sent 'http.response.body'; what may come now is"],
    [[begin(), begin()], "the application sent 'http.response.start'; what may come after"],
    [[{ type: "http.response.end" }], "the application sent 'http.response.end'"],
    [[{ type: "websocket.accept" }], "the application sent 'websocket.accept'"],
    [[begin([], { status: 101 }), data("")], "http.response.start: the status 101 ends no"],
    [[begin([], { status: "200" }), data("")], "http.response.start: the status '200' is no"],
    [[begin([[":a", "text"]]), data("")], "http.response.start: headers are not pairs"],
    [[begin([":ab"]), data("")], "http.response.start: headers are not pairs"],
    [[begin([[":a b", ":c"]]), data("")], "http.response.start: the header name b'a b' is not"],
    [[begin([[":a", ":b\r\nc: d"]]), data("")], "http.response.start: a header has a line end"],
    [[begin([[":content-length", ":x"]]), data("")], "http.response.start: Content-Length is"],
    [[begin(), { type: "http.response.body", body: "text" }], "http.response.body: the body is"],
    [[begin()], "the application returned: it has sent no 'http.response.body'"],
    [[], "the application returned: it has sent no 'http.response.start'"],
  ])("%j", async (messages, told) => {
    lines.length = 0;
    expect(await given(messages)).toStartWith("Status: 500 Internal Server Error\r\n");
    await isTold(told);
  });

  test("a message after the end harms nothing", async () => {
    lines.length = 0;
    expect(await given([begin(), data("whole"), data("more")])).toEndWith("\r\n\r\nwhole");
    await isTold("its answer was complete already");
  });
});
