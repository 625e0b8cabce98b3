/** Sessions of bun applications: whatever a program does with Bun.serve, it does here. */
import { beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";

import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { application, routes } from "./bun-programs.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
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

const { directory, spawner, isTold } = spawnerScene();
let instance: Instance;
let routed: Instance;

/** Its temporary files lie in `directory`. */
function started(name: string, source: string): Promise<Instance> {
  const root = writeApp(directory, name, { "server.ts": source });
  const changed = { appType: "bun", concurrency: 32, env: { TMPDIR: directory } } as const;
  return spawner.spawn(spawnRequest(root, changed));
}

beforeAll(async () => {
  [instance, routed] = await Promise.all([started("app", application), started("routed", routes)]);
});

async function ask(bytes: Uint8Array, of = instance) {
  return parseAnswer(await exchange(of, bytes));
}

test("makes a Request of the head: method, URL, and headers in their Web form", async () => {
  const { body } = await ask(
    to("/echo?a=b%20c", {
      HTTP_HOST: "app.test:8080",
      HTTP_X_FORWARDED_FOR: "1.2.3.4",
      HTTP_COOKIE: "a=1; b=2",
      HTTP_CONNECTION: "close",
      REMOTE_ADDR: "127.0.0.1",
    }),
  );
  expect(JSON.parse(body)).toEqual({
    method: "GET",
    url: "http://app.test:8080/echo?a=b%20c",
    headers: [
      ["cookie", "a=1; b=2"],
      ["host", "app.test:8080"],
      ["x-forwarded-for", "1.2.3.4"],
    ],
    body: null,
  });
});

test("serves a target with escaped line ends, which PATH_INFO has decoded", async () => {
  const fetch = "fetch: (request) => new Response(new URL(request.url).pathname)";
  for (const more of ["", ", routes: {}, websocket: { message() {} }"]) {
    const targets = await started(`targets${more.length}`, `export default { ${fetch}${more} };`);
    for (const REQUEST_URI of ["/a/b%0D%0Ac:%20d", ""]) {
      const bytes = get({ REQUEST_URI, SCRIPT_NAME: "/a", PATH_INFO: "/b\r\nc: d" });
      expect((await ask(bytes, targets)).body).toBe("/a/b%0D%0Ac:%20d");
    }
  }
});

test.each(contentForms)("takes length and type once where %s come", async (_, variables) => {
  using session = connected(instance);
  await sendAll(session.number, post("hi", { REQUEST_URI: "/echo", ...variables }));
  const { body } = parseAnswer(await readToEnd(session.number));
  expect(JSON.parse(body)).toMatchObject({
    headers: [
      ["content-length", "2"],
      ["content-type", "a/b"],
    ],
    body: "hi",
  });
});

test("reads a body without a length to the client's end", async () => {
  const start = to("/echo", { REQUEST_METHOD: "PUT" });
  const { body } = await ask(Buffer.concat([start, Buffer.from("to the end")]));
  expect(JSON.parse(body)).toMatchObject({ method: "PUT", body: "to the end" });
});

test("takes no body where the length is 0, nor with GET", async () => {
  expect(JSON.parse((await ask(post("", { REQUEST_URI: "/echo" }))).body).body).toBeNull();
  const bytes = Buffer.concat([to("/echo", { CONTENT_LENGTH: "3" }), Buffer.from("abc")]);
  expect(JSON.parse((await ask(bytes)).body).body).toBeNull();
});

test("answers with status, reason and every header, repeated ones too", async () => {
  const { status, headers, body } = await ask(to("/cookies"));
  expect(status).toBe("Status: 201 As You Like");
  expect(headers).toContain("set-cookie: a=1");
  expect(headers).toContain("set-cookie: b=2");
  expect(headers).toContain("x-one: 1");
  expect(body).toBe("x");
});

test("leaves out of the head what is said of a connection", async () => {
  for (const of of [instance, routed]) {
    const { status, headers, body } = await ask(to("/connection"), of);
    expect([status, body]).toEqual(["Status: 200 OK", "framed"]);
    expect(headers.join()).not.toMatch(/connection|hop/i);
    expect(headers).toContain("x-a: b");
  }
});

test.each([
  ["/text", "text/plain;charset=utf-8", "5", "t\u00c3\u00abxt"],
  ["/bytes", "application/octet-stream", "3", "\u0001\u0002\u00ff"],
  ["/json", "application/json;charset=utf-8", undefined, '{"a":1}'],
])("says of %s what Bun's own server would: type and length", async (path, type, length, body) => {
  const answer = await ask(to(path));
  expect(answer.headers).toContain(`content-type: ${type}`);
  if (length !== undefined) expect(answer.headers).toContain(`content-length: ${length}`);
  expect(answer.body).toBe(body);
});

test.each([
  ["/stream", "text bytes"],
  ["/generator", "ab"],
])("sends the stream of %s as it comes", async (path, body) => {
  expect((await ask(to(path))).body).toBe(body);
});

test("answers HEAD without a body, with the length of the one it leaves out", async () => {
  const { headers, body } = await ask(to("/text", { REQUEST_METHOD: "HEAD" }));
  expect(headers).toContain("content-length: 5");
  expect(body).toBe("");
  expect((await ask(to("/stream", { REQUEST_METHOD: "HEAD" }))).body).toBe("");
});

test("answers 204 without a body", async () => {
  expect(await ask(to("/none"))).toEqual({
    status: "Status: 204 No Content",
    headers: [],
    body: "",
  });
});

test("answers 500 to what the program throws, and tells it on stderr only", async () => {
  const { status, body } = await ask(to("/throw"));
  expect(status).toBe("Status: 500 Internal Server Error");
  expect(body).toBe("Internal Server Error\n");
  await isTold("thrown <here>");
});

test("answers 500 to a fetch that returns no Response", async () => {
  expect((await ask(to("/nothing"))).status).toBe("Status: 500 Internal Server Error");
});

test("cuts an answer short whose stream fails: a client must not take it for whole", async () => {
  const text = await exchange(instance, to("/failing-stream"));
  expect(text).toEndWith("begin");
  await isTold("stream broke");
});

async function abortedSoFar(): Promise<number> {
  return Number((await ask(to("/aborted"))).body);
}

test("aborts the request of a client that is gone, while the program waits", async () => {
  const before = await abortedSoFar();
  const session = connected(instance);
  await sendAll(session.number, to("/wait"));
  session.close();
  await until("the request is aborted", async () => (await abortedSoFar()) === before + 1);
});

test("aborts it also when the client had ended its side before", async () => {
  const before = await abortedSoFar();
  const session = connected(instance);
  await sendAll(session.number, to("/wait"));
  endWriting(session.number);
  await ask(to("/text"));
  session.close();
  await until("the request is aborted", async () => (await abortedSoFar()) === before + 1);
});

test("stops producing an answer that nobody takes any more", async () => {
  const before = await abortedSoFar();
  const session = connected(instance);
  await sendAll(session.number, to("/endless"));
  await readExactly(session.number, 1_000);
  session.close();
  await until("the stream is cancelled", async () => (await abortedSoFar()) > before);
});

test("gives fetch a server that answers without having a port", async () => {
  expect((await ask(to("/server"))).body).toBe("number,,false");
});

test("answers several requests on one session of a program with routes", async () => {
  using session = connected(routed);
  const keep = { SESSION_KEEP: "1" };
  const requests = [
    to("/a/b", keep),
    post("posted", { REQUEST_URI: "/echo", ...keep }),
    to("/a/c"),
  ];
  await sendAll(session.number, Buffer.concat(requests));
  const all = await readToEnd(session.number);
  expect(all.match(/Status: 200/g)?.length).toBe(3);
  expect(all).toEndWith("routed to c");
});

test("serves a program with routes", async () => {
  expect((await ask(to("/a/b"), routed)).body).toBe("routed to b");
  expect((await ask(post("posted", { REQUEST_URI: "/echo" }), routed)).body).toBe("posted");
  expect((await ask(to("/static"), routed)).headers).toContain("x-static: 1");
  const { status, headers } = await ask(to("/go"), routed);
  expect(status).toBe("Status: 302 Found");
  expect(headers).toContain("Location: /a/there");
  expect(await ask(to("/elsewhere"), routed)).toMatchObject({
    status: "Status: 404 Not Found",
    body: "fallback",
  });
});

test("refuses bodies that are larger than the program takes", async () => {
  const source =
    "Bun.serve({ maxRequestBodySize: 3, fetch: async (it) => new Response(await it.text()) });";
  const limited = await started("limited", source);
  expect((await ask(post("abc"), limited)).body).toBe("abc");
  expect((await ask(post("abcd"), limited)).status).toStartWith("Status: 413");
});

test("offers a program with routes no encoding that its client did not, and says https", async () => {
  const { body } = await ask(to("/host", { HTTP_HOST: "app.test", HTTPS: "on" }), routed);
  expect(body).toBe("http://app.test/host  https");
});

test("leaves no socket of a program with routes in the file system", () => {
  const left = readdirSync(directory).filter((name) =>
    name.startsWith("application-pool-instance-"),
  );
  expect(left).toEqual([]);
});

// Last: no descriptor is left of any session before.
javascriptSessions(
  () => instance,
  [
    ["a host that is none", get({ HTTP_HOST: "a b" }), "the host is not one of HTTP"],
    ["a host with a user", get({ HTTP_HOST: "u:p@example.com" }), "the host is not one of HTTP"],
    ["a host with a path", get({ HTTP_HOST: "a/admin?" }), "the host is not one of HTTP"],
    ["a host with a fragment", get({ HTTP_HOST: "a#" }), "the host is not one of HTTP"],
  ],
);
