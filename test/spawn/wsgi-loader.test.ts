/** Requests to wsgi applications: how they are read, what environ they become, what is refused. */
import { beforeAll, expect, test } from "bun:test";

import { send } from "../../src/native/socket.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
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
import { application, to, validated, wsgiRequest } from "./wsgi-programs.ts";

const { directory, spawner, lines } = spawnerScene();
let instance: Instance;
let checked: Instance;

function started(name: string, source: string): Promise<Instance> {
  const root = writeApp(directory, name, { "wsgi.py": source });
  return spawner.spawn(wsgiRequest(root));
}

beforeAll(async () => {
  [instance, checked] = await Promise.all([
    started("app", application),
    started("checked", validated),
  ]);
});

async function ask(bytes: Uint8Array, of = instance) {
  return parseAnswer(await exchange(of, bytes));
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
  const more = "HTTP_X\0a\0HTTP_X\0b\0HTTP_COOKIE\0c\0HTTP_COOKIE\0d\0";
  const repeated = Buffer.from(`REQUEST_METHOD\0GET\0PATH_INFO\0/environ\0${more}`);
  expect(JSON.parse((await ask(framed(repeated))).body)).toMatchObject({
    HTTP_X: "a, b",
    HTTP_COOKIE: "c; d",
  });
});

test.each(["C", "de_DE.ISO-8859-1"])(
  "keeps the bytes of a body as they are, whatever the locale (%s)",
  async (locale) => {
    const root = writeApp(directory, `bytes-${locale}`, { "wsgi.py": application });
    const uploaded = await spawner.spawn(wsgiRequest(root, { env: { LC_ALL: locale } }));
    const { bytes, digest } = manyBytes();
    const answer = await ask(post(bytes, { PATH_INFO: "/digest" }), uploaded);
    expect(answer.body).toBe(digest);
  },
);

test.each(bodyNames)(
  "takes length and type of a body by their names %s, once",
  async (_, names) => {
    const shown = await environOf({ REQUEST_METHOD: "POST", ...names });
    expect(shown).toMatchObject({ CONTENT_LENGTH: "4", CONTENT_TYPE: "text/x" });
    expect(Object.keys(shown).filter((name) => name.startsWith("HTTP_CONTENT"))).toEqual([]);
    const posted = to("/echo", { REQUEST_METHOD: "POST", ...names });
    expect((await ask(Buffer.concat([posted, Buffer.from("body")]))).body).toBe("body");
  },
);

test("lets no header become a proxy, or one of its own variables", async () => {
  const environ = await environOf({
    HTTP_PROXY: "evil",
    "wsgi.url_scheme": "evil",
    "wsgi.multithread": "evil",
  });
  expect(Object.values(environ)).not.toContain("evil");
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
  [
    "two lengths",
    get({ CONTENT_LENGTH: "1", HTTP_CONTENT_LENGTH: "2" }),
    "there are two of CONTENT_LENGTH",
  ],
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
  const child = Number((await ask(to("/forked"))).body);
  const held = () => [...openDescriptors(child).keys()].toSorted((a, b) => a - b).join();
  // Its parent may have answered before it had its first turn.
  await until("it holds nothing of the instance's", () => held() === "0,1,2", held);
  process.kill(child, "SIGKILL");
});

test("lets no child of the application answer a second time, or serve on", async () => {
  expect((await ask(to("/fork_and_return"))).body).toBe("from the parent");
});

function sockets(): string[] {
  return [...openDescriptors(instance.pid).values()].filter((what) => what.startsWith("socket:"));
}

test("holds no descriptor of a session that is over", async () => {
  await until("only listener and lifeline are left", () => sockets().length === 2, sockets);
});
