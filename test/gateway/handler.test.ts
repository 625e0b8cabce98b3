/** Answers of the gateway itself: errors, ids, the connection's end, TLS. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { BadRequestError, BodyTooLargeError } from "../../src/gateway/proxy-errors.ts";
import {
  AnswerTimeoutError,
  BusyError,
  PoolError,
  PoolIOError,
  ServerGoneError,
  SessionError,
  SpawnError,
} from "../../src/parent/errors.ts";
import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { exchange } from "./raw-exchange.ts";
import { app, gateways } from "./support.ts";

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
  [new BadRequestError("secret"), 400, "2"],
  [new BodyTooLargeError("secret"), 413, "2"],
  [new TypeError("secret"), 500, "error"],
];

for (const [error, status, level, retryAfter = null] of failures) {
  test(`${error.name} is answered ${status}, and tells visitors nothing of the inside`, async () => {
    const site = gateway();
    site.behave = () => Promise.reject(error);
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
  site.behave = () => Promise.reject(new SpawnError("why", Buffer.from("<h1>é why</h1>")));
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

test("a visitor who leaves is counted as one, once", async () => {
  const site = gateway();
  const asked = Promise.withResolvers<void>();
  site.behave = (request) => {
    asked.resolve();
    const left = Promise.withResolvers<never>();
    request.signal.addEventListener("abort", () => left.reject(new Error("left")));
    return left.promise;
  };
  const leaving = new AbortController();
  const answer = fetch(site.url("/"), { signal: leaving.signal }).catch(() => "left");
  await asked.promise;
  leaving.abort();
  expect(await answer).toBe("left");
  await until("the visit has ended", () => site.done.length === 1);
  expect(site.done).toMatchObject([{ status: 499, failure: "left" }]);
});

test("every request ends once, with what became of it", async () => {
  const site = gateway();
  await (await fetch(site.url("/a?b=c"), { method: "POST", body: "hello" })).text();
  expect(site.done).toMatchObject([
    { method: "POST", target: "/a?b=c", status: 200, scheme: "http", app: { name: "main" } },
  ]);
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

test("the limit of a head holds, below and above what Bun has by itself", async () => {
  const large = `GET / HTTP/1.1\r\nX-Large: ${"x".repeat(30_000)}\r\n${head}`;
  for (const [maxHeaderBytes, answer] of [
    [4096, "HTTP/1.1 431 "],
    [64 * 1024, "HTTP/1.1 200 "],
  ] as const) {
    const site = gateway({
      limits: { maxHeaderBytes, maxBodyBytes: 0, idleMs: 60_000, queueMs: 0, responseMs: 0 },
    });
    expect((await exchange(site.port, [large])).answered).toStartWith(answer);
  }
});

test("over TLS the scheme is https, and files are sent as well", async () => {
  const certificates = directory();
  const [cert, key] = [join(certificates, "cert.pem"), join(certificates, "key.pem")];
  const options =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 " +
    `-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout ${key} -out ${cert}`;
  const made = Bun.spawnSync(["openssl", ...options.split(" ")]);
  expect(made.exitCode).toBe(0);
  const root = directory();
  await Bun.write(join(root, "public/large.bin"), new Uint8Array(1_000_000));
  const site = gateway(
    { apps: [app("main", { root, staticFiles: true })] },
    { port: 0, tls: { cert: Bun.file(cert), key: Bun.file(key) } },
  );
  const tls = { ca: readFileSync(cert, "utf8") };
  const origin = `https://localhost:${site.port}`;
  expect(await (await fetch(`${origin}/`, { tls })).text()).toBe("reached");
  expect(site.done).toMatchObject([{ scheme: "https" }]);
  expect(site.reached[0]?.headers["x-forwarded-proto"]).toBe("https");
  const file = await (await fetch(`${origin}/large.bin`, { tls })).arrayBuffer();
  expect(file.byteLength).toBe(1_000_000);
});
