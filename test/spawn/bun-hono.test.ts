/** An application of Hono, as its own guide would have it. */
import { beforeAll, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";

import type { Instance } from "../../src/spawn/spawner.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, exchange, get, parseAnswer, post, spawnRequest, writeApp } from "./support.ts";

const program = `
  import { Hono } from "hono";
  import { getConnInfo, serveStatic } from "hono/bun";
  import { setCookie, getCookie } from "hono/cookie";
  import { etag } from "hono/etag";
  import { HTTPException } from "hono/http-exception";
  import { stream, streamSSE } from "hono/streaming";

  const app = new Hono();
  app.use("*", async (c, next) => { await next(); c.header("x-middleware", "ran"); });
  app.use("/static/*", serveStatic({ root: "./" }));
  app.use("/etag", etag());
  app.get("/etag", (c) => c.text("tagged"));
  app.get("/hello/:name", (c) => c.text("Hello " + c.req.param("name") + " " + c.req.query("q")));
  app.post("/json", async (c) => c.json({ got: await c.req.json() }, 201));
  app.post("/form", async (c) => {
    const form = await c.req.parseBody();
    return c.text(form.name + " " + (await form.file.text()));
  });
  app.get("/cookies", (c) => {
    setCookie(c, "a", "1", { httpOnly: true });
    setCookie(c, "b", "2");
    return c.text("had " + getCookie(c, "old"));
  });
  app.get("/client", (c) => c.text(String(getConnInfo(c).remote.address)));
  app.get("/go", (c) => c.redirect("/hello/there"));
  app.get("/stream", (c) => stream(c, async (out) => {
    for (const part of ["one ", "two ", "three"]) { await out.write(part); await out.sleep(2); }
  }));
  app.get("/events", (c) => streamSSE(c, (out) => out.writeSSE({ data: "news", event: "e" })));
  app.get("/throw", () => { throw new Error("thrown"); });
  app.get("/teapot", () => { throw new HTTPException(418, { message: "short and stout" }); });
  app.onError((error, c) => {
    if (error instanceof HTTPException) return error.getResponse();
    return c.text("handled: " + error.message, 500);
  });
  export default app;
`;

const { directory, spawner, lines } = spawnerScene();
let instance: Instance;

beforeAll(async () => {
  // As `bun install` would leave it in the application.
  symlinkSync(join(import.meta.dir, "../../node_modules"), join(directory, "node_modules"));
  const files = { "index.ts": program, "static/style.css": "body { color: red }\n" };
  const root = writeApp(directory, "hono", files);
  instance = await spawner.spawn(spawnRequest(root, { appType: "bun" }));
});

async function ask(bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

const to = (path: string, more: Readonly<Record<string, string>> = {}) =>
  get({ REQUEST_URI: path, HTTP_HOST: "app.test", ...more });

test("Hono routes, reads queries and runs middleware", async () => {
  const { headers, body } = await ask(to("/hello/you?q=1"));
  expect(body).toBe("Hello you 1");
  expect(headers).toContain("x-middleware: ran");
  expect((await ask(to("/nowhere"))).status).toBe("Status: 404 Not Found");
});

test("Hono reads JSON and forms with files", async () => {
  const json = { REQUEST_URI: "/json", CONTENT_TYPE: "application/json" };
  const { status, body } = await ask(post('{"a":[1]}', json));
  expect([status, body]).toEqual(["Status: 201 Created", '{"got":{"a":[1]}}']);
  const form = [
    '--B\r\nContent-Disposition: form-data; name="name"\r\n\r\nvalue\r\n',
    '--B\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\nfile\r\n--B--\r\n',
  ].join("");
  const variables = { REQUEST_URI: "/form", CONTENT_TYPE: "multipart/form-data; boundary=B" };
  expect((await ask(post(form, variables))).body).toBe("value file");
});

test("Hono serves files and validators", async () => {
  const file = await ask(to("/static/style.css"));
  expect(file.headers).toContain("content-type: text/css; charset=utf-8");
  expect(file.body).toBe("body { color: red }\n");
  const { headers } = await ask(to("/etag"));
  const etag = headers.find((line) => line.startsWith("etag: "))?.slice("etag: ".length) ?? "";
  expect((await ask(to("/etag", { HTTP_IF_NONE_MATCH: etag }))).status).toBe(
    "Status: 304 Not Modified",
  );
});

test("Hono sets cookies, redirects and streams", async () => {
  const { headers, body } = await ask(to("/cookies", { HTTP_COOKIE: "old=0" }));
  expect(body).toBe("had 0");
  expect(headers).toContain("set-cookie: a=1; Path=/; HttpOnly");
  expect(headers).toContain("set-cookie: b=2; Path=/");
  expect((await ask(to("/go"))).headers).toContain("location: /hello/there");
  expect((await ask(to("/stream"))).body).toBe("one two three");
  expect((await ask(to("/events"))).body).toBe("event: e\ndata: news\n\n");
});

test("Hono's list of routes is not taken for Bun's: it is called in its own process", async () => {
  const client = { REMOTE_ADDR: "192.0.2.7", REMOTE_PORT: "7000" };
  expect((await ask(to("/client", client))).body).toBe("192.0.2.7");
  expect(lines.join()).not.toContain("Started");
});

test("Hono handles errors", async () => {
  expect(await ask(to("/throw"))).toMatchObject({ body: "handled: thrown" });
  expect((await ask(to("/teapot"))).status).toStartWith("Status: 418");
});

test("Hono answers several requests on one session", async () => {
  using session = connected(instance);
  const keep = { SESSION_KEEP: "1" };
  const requests = [to("/stream", keep), to("/static/style.css", keep), to("/hello/last")];
  await sendAll(session.number, Buffer.concat(requests));
  const all = await readToEnd(session.number);
  expect(all.match(/Status: 200 OK/g)?.length).toBe(3);
  expect(all).toContain("4\r\none \r\n");
  expect(all).toEndWith("Hello last undefined");
});
