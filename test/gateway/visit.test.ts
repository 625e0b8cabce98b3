/** Answers of the gateway itself: errors, ids, the connection's end, TLS. */
import { expect, test } from "bun:test";
import { connect } from "node:net";
import { join } from "node:path";

import { SpoolError } from "../../src/gateway/bodies/spool.ts";
import { bodyTooLarge, RefusedError } from "../../src/gateway/policy/failures.ts";
import {
  AnswerTimeoutError,
  BusyError,
  PoolError,
  PoolIOError,
  ServerGoneError,
  SessionError,
  SpawnError,
} from "../../src/parent/errors.ts";
import { certificateOf, makeCertificate } from "../helpers/certificates.ts";
import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { RawVisitor } from "./proxied.ts";
import { exchange } from "./raw-exchange.ts";
import { app, configOf, gateways, publicOf } from "./support.ts";

const gateway = gateways();
const directory = temporaryDirectories();

/** With the level at which the log says why. */
const failures: [error: Error, status: number, level: string, retryAfter?: string][] = [
  [new SpawnError("secret path", Buffer.from("secret page")), 500, "1"],
  [new SpawnError("secret path"), 500, "1"],
  [new BusyError("secret"), 503, "1", "5"],
  [new PoolIOError("secret"), 502, "0"],
  [new SessionError("secret", false), 502, "0"],
  [new ServerGoneError("secret"), 503, "1", "1"],
  [new PoolError("secret"), 503, "1", "1"],
  [new AnswerTimeoutError("secret"), 504, "0"],
  [new RefusedError(bodyTooLarge, "secret"), 413, "2"],
  [new SpoolError("secret"), 503, "1", "5"],
  [new TypeError("secret"), 500, "error"],
];

for (const [error, status, level, retryAfter = null] of failures) {
  test(`${error.name} is answered ${status}, and tells visitors nothing of the inside`, async () => {
    const site = gateway();
    site.refusal = error;
    const response = await fetch(site.url("/"));
    const body = await response.text();
    expect(response.status).toBe(status);
    expect(response.headers.get("retry-after")).toBe(retryAfter);
    expect(body).not.toContain("secret");
    expect(body).toContain(response.headers.get("x-request-id") ?? "none");
    expect(site.done).toMatchObject([{ status, failure: error.message, bytes: body.length }]);
    const id = response.headers.get("x-request-id") ?? "";
    expect(site.logged).toEqual([
      level === "error"
        ? `error internal error ${error.message}`
        : `${level} request failed ${status} ${id} ${error.message}`,
    ]);
  });
}

test("where errors may be shown, the application's own page is the answer", async () => {
  const site = gateway({ apps: [app("main", { showErrors: true })] });
  site.refusal = new SpawnError("why", Buffer.from("<h1>é why</h1>"));
  const response = await fetch(site.url("/"));
  expect(response.status).toBe(500);
  expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(await response.text()).toBe("<h1>é why</h1>");
});

test("browsers get a page, all others text", async () => {
  const site = gateway({ apps: [] });
  const page = await fetch(site.url("/"), { headers: { Accept: "text/html,*/*;q=0.8" } });
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(await page.text()).toContain("<h1>404 Not Found</h1>\n<p>Nothing is served here.</p>");
  const text = await fetch(site.url("/"), { headers: { Accept: "application/json" } });
  expect(text.headers.get("content-type")).toBe("text/plain; charset=utf-8");
  expect(await text.text()).toStartWith("404 Not Found: nothing is served here.\nRequest id: ");
});

test("an error answers HEAD without a body", async () => {
  const site = gateway({ apps: [] });
  const { answered } = await exchange(site.port, [
    "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  ]);
  expect(answered).toStartWith("HTTP/1.1 404 Not Found\r\n");
  expect(answered).toEndWith("\r\n\r\n");
});

for (const how of ["a reset", "a close that may only be the end of his side"]) {
  test(`a visitor who leaves is counted as one, once, and the application told: ${how}`, async () => {
    const site = gateway();
    const asked = Promise.withResolvers<void>();
    const told = Promise.withResolvers<void>();
    site.behave = async (_, gone) => {
      asked.resolve();
      await gone;
      told.resolve();
      return undefined;
    };
    const visitor = connect(site.port, "127.0.0.1");
    visitor.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await asked.promise;
    if (how === "a reset") visitor.resetAndDestroy();
    else visitor.destroy();
    await told.promise;
    await until("the visit has ended", () => site.done.length === 1);
    expect(site.done).toMatchObject([{ status: 499, failure: "the visitor has left" }]);
  });
}

test("a visitor who has only ended his side gets his answer, however long it takes", async () => {
  const site = gateway();
  site.behave = () => Bun.sleep(1200).then(() => undefined);
  const { answered } = await exchange(site.port, [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    { close: "writing" },
  ]);
  expect(answered).toStartWith("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n");
  expect(answered).toEndWith("\r\n\r\nreached");
});

test("every request ends once, with what became of it", async () => {
  const site = gateway();
  await (await fetch(site.url("/a?b=c"), { method: "POST", body: "hello" })).text();
  expect(site.done).toMatchObject([
    { method: "POST", target: "/a?b=c", status: 200, scheme: "http", app: { name: "main" } },
  ]);
});

test("an answer has one id, ours, and one date, the application's if it gives one", async () => {
  const site = gateway();
  const date = "Mon, 30 Nov 2026 00:00:00 GMT";
  site.behave = () => new Response("", { headers: { "X-Request-Id": "theirs", Date: date } });
  const { answered } = await exchange(site.port, [`GET / HTTP/1.1\r\nHost: a\r\n\r\n`], "\r\n\r\n");
  expect(answered.match(/x-request-id: .*/gi)).toEqual([`X-Request-Id: ${site.done[0]?.id}`]);
  expect((await fetch(site.url("/"))).headers.get("date")).toBe(date);
});

test("ids are different ones", async () => {
  const site = gateway();
  const ids = new Set<string | null>();
  for (let i = 0; i < 20; i += 1) ids.add((await fetch(site.url("/"))).headers.get("x-request-id"));
  expect(ids.size).toBe(20);
});

const head = "Host: a\r\nConnection: close\r\n\r\n";

test("a connection that will be closed is said to be, and is closed", async () => {
  const site = gateway();
  for (const connection of ["close", "Close", "TE, close"]) {
    const { answered, closed } = await exchange(site.port, [
      `GET / HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\n\r\n`,
    ]);
    expect(answered).toContain("\r\nConnection: close\r\n");
    expect(closed).toBe(true);
  }
  const kept = await exchange(site.port, ["GET / HTTP/1.1\r\nHost: a\r\n\r\n"], "reached");
  expect(kept.answered).not.toContain("Connection:");
});

test("the limit of a head holds", async () => {
  const large = `GET / HTTP/1.1\r\nX-Large: ${"x".repeat(30_000)}\r\n${head}`;
  for (const [maxHeaderBytes, answer] of [
    [4096, "HTTP/1.1 431 "],
    [64 * 1024, "HTTP/1.1 200 "],
  ] as const) {
    const site = gateway({
      limits: { ...configOf().limits, maxHeaderBytes },
    });
    expect((await exchange(site.port, [large])).answered).toStartWith(answer);
  }
});

test("a head may be larger than what is read before its turn, and come in pieces", async () => {
  const site = gateway({ limits: { ...configOf().limits, maxHeaderBytes: 128 * 1024 } });
  const visitor = await RawVisitor.connect(site.port);
  await visitor.sendAll([Buffer.from(`GET / HTTP/1.1\r\nX-A: ${"a".repeat(70_000)}\r\n`)]);
  // Whoever comes later is served: what has come of this head has been read.
  for (let i = 0; i < 3; i += 1) expect((await fetch(site.url("/"))).status).toBe(200);
  visitor.send(`X-B: ${"b".repeat(30_000)}\r\n${head}`);
  await until("the answer", () => visitor.received !== "");
  expect(visitor.received).toStartWith("HTTP/1.1 200 ");
});

test("over TLS the scheme is https, and files are sent as well", async () => {
  const certificates = directory();
  makeCertificate(certificates, "localhost", ["localhost"]);
  const certificate = certificateOf(certificates, "localhost");
  const root = directory();
  await Bun.write(join(root, "public/large.bin"), new Uint8Array(1_000_000));
  const certificatesOnly = { redirectPort: undefined, strictTransport: undefined };
  const site = gateway(
    { apps: [app("main", { root, files: publicOf(root) })] },
    { tls: { certificates: [certificate], ...certificatesOnly } },
  );
  const origin = `https://localhost:${site.port}`;
  const tls = { ca: certificate.certificate };
  expect(await (await fetch(`${origin}/`, { tls })).text()).toBe("reached");
  expect(site.done).toMatchObject([{ scheme: "https" }]);
  expect(site.reached[0]?.headers["x-forwarded-proto"]).toBe("https");
  const file = await (await fetch(`${origin}/large.bin`, { tls })).arrayBuffer();
  expect(file.byteLength).toBe(1_000_000);
});

function lastGet(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
}

test("what was gathered of an answer that turns out to be broken goes to nobody else", async () => {
  const site = gateway();
  const begun = "Status: 200 OK\r\nX-Secret: theirs\r\nTransfer-Encoding: chunked\r\n\r\n";
  site.behave = ({ target }) => (target === "/broken" ? `${begun}5\r\nhello\r\nzz\r\n` : undefined);
  for (let i = 0; i < 5; i += 1) {
    const [broken, sound] = await Promise.all([
      exchange(site.port, [lastGet("/broken")]),
      exchange(site.port, [lastGet("/")]),
    ]);
    const after = await exchange(site.port, [lastGet("/")]);
    expect(broken.answered).not.toContain("0\r\n\r\n");
    for (const { answered } of [sound, after]) {
      expect(answered).toMatch(/^HTTP\/1\.1 200 OK\r\nContent-Length: 7\r\n[^]*\r\n\r\nreached$/);
      expect(answered).not.toContain("theirs");
    }
  }
});

test("why a request is refused is in its record, as it is on the visitor's page", async () => {
  const site = gateway();
  const { answered } = await exchange(site.port, ["GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"]);
  expect(answered).toContain("it has more than one Host header");
  expect(site.done).toMatchObject([{ status: 400, failure: "it has more than one Host header" }]);
});

test("a request has so long, and no longer; a visitor who is slow does not use it up", async () => {
  const main = app("main", { options: { requestTimeoutMs: 1000 }, bufferRequests: false });
  const site = gateway({ apps: [main] });
  site.behave = ({ target }) => (target === "/hang" ? new Promise(() => {}) : undefined);
  const { answered } = await exchange(site.port, [lastGet("/hang")]);
  expect(answered).toStartWith("HTTP/1.1 504 Gateway Timeout\r\n");
  expect(site.done[0]?.failure).toContain("no whole answer within 1000 ms");
  const slow = await exchange(site.port, [
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhe",
    { waitMs: 1500 },
    "llo",
  ]);
  expect(slow.answered).toStartWith("HTTP/1.1 200 OK\r\n");
});

test("the time to wait for an instance begins when one is asked for, after the body has come", async () => {
  const limits = { ...configOf().limits, queueMs: 1000 };
  const site = gateway({ limits });
  const { answered } = await exchange(site.port, [
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhe",
    { waitMs: 1500 },
    "llo",
  ]);
  expect(answered).toStartWith("HTTP/1.1 200 OK\r\n");
  expect(site.done[0]?.queueMs).toBeLessThan(1000);
});

test("an upload that is passed on as it comes goes on once there is an instance for it", async () => {
  const limits = { ...configOf().limits, maxBodyBytes: 0 };
  const site = gateway({ limits, apps: [app("main", { bufferRequests: false })] });
  const { promise, resolve } = Promise.withResolvers<void>();
  site.held = promise;
  const visitor = await RawVisitor.connect(site.port);
  const large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n";
  // As much as may wait, and no more than the kernel takes at once: nothing else has it go on.
  await visitor.sendAll([Buffer.from(large), new Uint8Array(70_000)]);
  await Bun.sleep(50);
  resolve();
  await visitor.sendAll([new Uint8Array(2_930_000)]);
  await visitor.has("reached");
  visitor.leave();
});

test("over TLS who does not end his handshake is closed like anybody who is idle", async () => {
  const certificates = directory();
  makeCertificate(certificates, "localhost");
  const tls = {
    certificates: [certificateOf(certificates, "localhost")],
    redirectPort: undefined,
    strictTransport: undefined,
  };
  const site = gateway({ limits: { ...configOf().limits, idleMs: 200 } }, { tls });
  for (const greeting of [[], [0x16, 3, 1, 2, 0, 1, 0]]) {
    const socket = connect(site.port, "127.0.0.1").resume();
    socket.write(Buffer.from(greeting));
    await new Promise((resolve) => socket.once("close", resolve));
  }
});
