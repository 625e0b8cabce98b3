/** Sessions of node applications: whatever a program does with node:http, it does here. */
import { beforeAll, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { application } from "./node-programs.ts";
import { javascriptSessions, to } from "./javascript-sessions.ts";
import { spawnerScene } from "./spawner-scene.ts";
import {
  connected,
  contentForms,
  endWriting,
  exchange,
  get,
  parseAnswer,
  post,
  spawnRequest,
  writeApp,
} from "./support.ts";

const { directory, spawner } = spawnerScene();
let instance: Instance;

beforeAll(async () => {
  const root = writeApp(directory, "app", { "app.js": application });
  instance = await spawner.spawn(spawnRequest(root, { appType: "node", concurrency: 32 }));
});

async function ask(bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

test("makes an IncomingMessage of the head, with the client where its socket is", async () => {
  const { headers, body } = await ask(
    to("/echo?a=b%20c", {
      HTTP_HOST: "app.test:8080",
      HTTP_X_FORWARDED_FOR: "1.2.3.4",
      HTTP_COOKIE: "a=1; b=2",
      HTTP_CONNECTION: "close",
      REMOTE_ADDR: "203.0.113.9",
      REMOTE_PORT: "4711",
      SERVER_PROTOCOL: "HTTP/1.0",
      HTTPS: "on",
      SESSION_KEEP: "0",
    }),
  );
  expect(headers).toContain("content-type: application/json");
  expect(JSON.parse(body)).toEqual({
    method: "GET",
    url: "/echo?a=b%20c",
    headers: { host: "app.test:8080", "x-forwarded-for": "1.2.3.4", cookie: "a=1; b=2" },
    rawHeaders: ["host", "app.test:8080", "x-forwarded-for", "1.2.3.4", "cookie", "a=1; b=2"],
    httpVersion: "1.0",
    body: "",
    complete: true,
    remoteAddress: "203.0.113.9",
    remotePort: 4711,
    localPort: 80,
    encrypted: true,
  });
});

test("takes the path from PATH_INFO where there is no REQUEST_URI, encoded again", async () => {
  const variables = { REQUEST_URI: "", SCRIPT_NAME: "/echo", PATH_INFO: "", QUERY_STRING: "q=1" };
  expect(JSON.parse((await ask(get(variables))).body)).toMatchObject({ url: "/echo?q=1" });
});

test("serves a target with escaped line ends, which PATH_INFO has decoded", async () => {
  const source = 'require("http").createServer((it, to) => to.end(it.url)).listen()';
  const root = writeApp(directory, "targets", { "app.js": source });
  const targets = await spawner.spawn(spawnRequest(root, { appType: "node" }));
  for (const REQUEST_URI of ["/a/b%0D%0Ac:%20d", ""]) {
    const bytes = get({ REQUEST_URI, SCRIPT_NAME: "/a", PATH_INFO: "/b\r\nc: d" });
    expect(parseAnswer(await exchange(targets, bytes)).body).toBe("/a/b%0D%0Ac:%20d");
  }
});

test.each(contentForms)("takes length and type once where %s come", async (_, variables) => {
  using session = connected(instance);
  await sendAll(session.number, post("hi", { REQUEST_URI: "/echo", ...variables }));
  const { body } = parseAnswer(await readToEnd(session.number));
  const { rawHeaders, ...echo } = JSON.parse(body);
  expect(echo).toMatchObject({ body: "hi", headers: { "content-length": "2" } });
  expect(rawHeaders.toSorted()).toEqual(["2", "a/b", "content-length", "content-type"]);
});

test("reads a body without a length to the client's end, and says that there is one", async () => {
  const start = to("/echo", { REQUEST_METHOD: "PUT" });
  const { body } = await ask(Buffer.concat([start, Buffer.from("to the end")]));
  const headers = { "transfer-encoding": "chunked" };
  expect(JSON.parse(body)).toMatchObject({ method: "PUT", body: "to the end", headers });
});

test("reads no more of a body than the program takes", async () => {
  const size = 3_000_000;
  using session = connected(instance);
  const start = to("/slow-reader", { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(size) });
  await sendAll(session.number, start);
  const sending = sendAll(session.number, Buffer.alloc(size, "b"));
  let before = 0;
  await until("the instance has read what it wants", async () => {
    const now = Number(parseAnswer(await exchange(instance, to("/peek"))).body || 0);
    const settled = now > 0 && now === before;
    before = now;
    return settled;
  });
  expect(before).toBeLessThan(1_000_000);
  await ask(to("/read"));
  await sending;
  expect(parseAnswer(await readToEnd(session.number)).body).toBe(String(size));
});

test("answers with status, reason and every header, repeated ones too", async () => {
  const { status, headers, body } = await ask(to("/cookies"));
  expect(status).toBe("Status: 201 As You Like");
  expect(headers).toContain("Set-Cookie: a=1");
  expect(headers).toContain("Set-Cookie: b=2");
  expect(headers).toContain("X-One: 1");
  expect(body).toBe("x");
  expect((await ask(to("/raw"))).headers.filter((line) => line.startsWith("X-A"))).toEqual([
    "X-A: 1",
    "X-A: 2",
  ]);
});

test("leaves out of the head what is said of a connection, and sends the body bare", async () => {
  const { status, headers, body } = await ask(to("/connection"));
  expect(status).toBe("Status: 200 OK");
  expect(headers.map((line) => line.split(":")[0])).toEqual(["Date"]);
  expect(body).toBe("framed");
});

test.each([
  ["/text", "t\u00c3\u00abxt"],
  ["/stream", "text bytes"],
  ["/trailers", "with trailers"],
  ["/interim", "final"],
  ["/empty", ""],
])("sends the body of %s as it is", async (path, body) => {
  const answer = await ask(to(path));
  expect(answer.status).toBe("Status: 200 OK");
  expect(answer.body).toBe(body);
});

test("answers HEAD without a body", async () => {
  const { status, body } = await ask(to("/text", { REQUEST_METHOD: "HEAD" }));
  expect(status).toBe("Status: 200 OK");
  expect(body).toBe("");
});

test.each([
  ["/none", "Status: 204 No Content"],
  ["/not-modified", "Status: 304 Not Modified"],
])("answers %s without a body", async (path, status) => {
  expect(await ask(to(path))).toMatchObject({ status, body: "" });
});

test("lets no line end into the head", async () => {
  const { headers, body } = await ask(to("/inject"));
  expect(headers.join()).not.toContain("Evil");
  expect(body).toBe("ERR_INVALID_CHAR,ERR_INVALID_CHAR");
});

test("cuts an answer short that the program gives up", async () => {
  expect(await exchange(instance, to("/fail"))).toEndWith("begin");
});

test("takes 128 KiB of headers, beyond what Node's own parser does", async () => {
  const value = "v".repeat(120_000);
  const { body } = await ask(to("/echo", { HTTP_X_LARGE: value }));
  expect(JSON.parse(body).headers["x-large"]).toBe(value);
});

const expecting = (what: string) => post("hi", { REQUEST_URI: "/echo", HTTP_EXPECT: what });

test("answers what a client expects as Node does", async () => {
  expect(JSON.parse((await ask(expecting("100-continue"))).body)).toMatchObject({ body: "hi" });
  expect((await ask(expecting("more"))).status).toBe("Status: 417 Expectation Failed");
  expect((await ask(to("a.test:443", { REQUEST_METHOD: "CONNECT" }))).status).toBe(
    "Status: 501 Not Implemented",
  );
});

async function goneSoFar(...wanted: string[]): Promise<void> {
  const seen: string[] = [];
  await until(
    `the program has seen ${wanted.join(", ")}`,
    async () => {
      seen.push(...(await ask(to("/gone"))).body.split(",").filter((word) => word !== ""));
      return wanted.every((word) => seen.includes(word));
    },
    () => seen,
  );
}

test("tells the program of a client that is gone", async () => {
  const session = connected(instance);
  const start = to("/wait", { REQUEST_METHOD: "POST", CONTENT_LENGTH: "9" });
  await sendAll(session.number, start);
  await ask(to("/text"));
  session.close();
  await goneSoFar("aborted", "request close", "response close false");
});

test("stops producing an answer that nobody takes any more", async () => {
  const session = connected(instance);
  await sendAll(session.number, to("/endless"));
  await readExactly(session.number, 1_000);
  session.close();
  await goneSoFar("response close");
});

test("aborts a request whose body ends early", async () => {
  const start = to("/wait", { REQUEST_METHOD: "POST", CONTENT_LENGTH: "9" });
  using session = connected(instance);
  await sendAll(session.number, Buffer.concat([start, Buffer.from("abc")]));
  endWriting(session.number);
  expect(await readToEnd(session.number)).toBe("");
  await goneSoFar("aborted", "request close");
});

test("honours the timeouts that a program sets on an answer", async () => {
  expect((await ask(to("/timeout"))).body).toBe("timed out");
});

test("says of its address what the program asked for", async () => {
  expect(JSON.parse((await ask(to("/address"))).body)).toEqual({
    address: "0.0.0.0",
    family: "IPv4",
    port: 1,
  });
});

// Last: no descriptor is left of any session before.
javascriptSessions(
  () => instance,
  [
    ["a header's name that is none", get({ "HTTP_A B": "x" }), 'header "a b" is not one of HTTP'],
    [
      "a target that is none",
      get({ REQUEST_URI: "/a b" }),
      "the request target is not one of HTTP",
    ],
  ],
);
