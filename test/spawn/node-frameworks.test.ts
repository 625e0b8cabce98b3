/** Applications of Express and Fastify, as their own guides would have them. */
import { beforeAll, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";

import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, exchange, get, parseAnswer, post, spawnRequest, writeApp } from "./support.ts";

const express = `
  const express = require("express");
  const app = express();
  app.set("trust proxy", "loopback");
  app.use(express.static("public", { maxAge: "1h" }));
  app.use(express.json(), express.urlencoded({ extended: false }));
  app.get("/hello/:name", (request, response) => response.send("Hello " + request.params.name));
  app.get("/client", (request, response) => response.json({
    ip: request.ip, protocol: request.protocol, secure: request.secure,
    host: request.hostname, query: request.query, type: request.get("X-Thing") }));
  app.post("/json", (request, response) => response.status(201).json({ got: request.body }));
  app.get("/cookies", (_request, response) => {
    response.cookie("a", "1", { httpOnly: true }).cookie("b", "2").send("set");
  });
  app.get("/go", (_request, response) => response.redirect("/hello/there"));
  app.get("/file", (_request, response) => response.sendFile(__dirname + "/public/style.css"));
  app.get("/stream", async (_request, response) => {
    for (const part of ["one ", "two ", "three"]) {
      response.write(part);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    response.end();
  });
  app.get("/throw", () => { throw new Error("thrown"); });
  app.get("/reject", async () => { throw Object.assign(new Error("rejected"), { status: 418 }); });
  app.use((error, _request, response, _next) => {
    response.status(error.status ?? 500).send("handled: " + error.message);
  });
  app.listen(process.env.PORT || 3000, () => console.log("express listens"));
`;

const fastify = `
  import Fastify from "fastify";
  import { createReadStream } from "node:fs";
  const app = Fastify({ trustProxy: true, bodyLimit: 1000 });
  app.addHook("onSend", async (_request, reply) => { reply.header("x-hook", "ran"); });
  app.get("/hello/:name", async (request) => ({ hello: request.params.name }));
  app.get("/client", async (request) => ({ ip: request.ip, protocol: request.protocol }));
  app.post("/json", {
    schema: { body: { type: "object", required: ["a"], properties: { a: { type: "number" } } } },
  }, async (request, reply) => reply.code(201).send({ got: request.body }));
  app.get("/file", (_request, reply) => reply.send(createReadStream("package.json")));
  app.get("/throw", async () => { throw new Error("thrown"); });
  app.get("/go", (_request, reply) => reply.redirect("/hello/there"));
  app.get("/cookies", async (_request, reply) => {
    reply.header("set-cookie", ["a=1", "b=2"]);
    return "set";
  });
  const address = await app.listen({ port: 3000 });
  console.log("fastify listens at " + address);
`;

const { directory, spawner, lines } = spawnerScene();
const instances: Record<string, Instance> = {};

beforeAll(async () => {
  // As `npm install` would leave it in the application.
  symlinkSync(join(import.meta.dir, "../../node_modules"), join(directory, "node_modules"));
  const files = {
    express: { "app.js": express, "public/style.css": "body { color: red }\n" },
    fastify: { "package.json": '{ "type": "module", "main": "main.js" }', "main.js": fastify },
  };
  await Promise.all(
    Object.entries(files).map(async ([name, content]) => {
      const root = writeApp(directory, name, content);
      instances[name] = await spawner.spawn(spawnRequest(root, { appType: "node" }));
    }),
  );
});

function instanceOf(name: string): Instance {
  const instance = instances[name];
  if (instance === undefined) throw new Error(`no instance of ${name}`);
  return instance;
}

async function ask(name: string, bytes: Uint8Array) {
  return parseAnswer(await exchange(instanceOf(name), bytes));
}

const to = (path: string, more: Readonly<Record<string, string>> = {}) =>
  get({ REQUEST_URI: path, ...more });

const json = (path: string, body: string) =>
  post(body, { REQUEST_URI: path, CONTENT_TYPE: "application/json" });

test("Express routes, reads queries and knows its client", async () => {
  expect((await ask("express", to("/hello/you"))).body).toBe("Hello you");
  const client = to("/client?a=1", {
    HTTP_HOST: "app.test",
    HTTP_X_THING: "thing",
    REMOTE_ADDR: "203.0.113.9",
    HTTPS: "on",
  });
  expect(JSON.parse((await ask("express", client)).body)).toEqual({
    ip: "203.0.113.9",
    protocol: "https",
    secure: true,
    host: "app.test",
    query: { a: "1" },
    type: "thing",
  });
});

test("Express trusts a proxy that it is told to trust", async () => {
  const { body } = await ask(
    "express",
    to("/client", {
      REMOTE_ADDR: "127.0.0.1",
      HTTP_X_FORWARDED_FOR: "198.51.100.7",
      HTTP_X_FORWARDED_PROTO: "https",
    }),
  );
  expect(JSON.parse(body)).toMatchObject({ ip: "198.51.100.7", protocol: "https" });
});

test("Express parses bodies, with a length and to the end, and refuses bad ones", async () => {
  expect(await ask("express", json("/json", '{"a":[1]}'))).toMatchObject({
    status: "Status: 201 Created",
    body: '{"got":{"a":[1]}}',
  });
  const form = { CONTENT_TYPE: "application/x-www-form-urlencoded", REQUEST_URI: "/json" };
  expect((await ask("express", post("a=1&b=%20", form))).body).toBe('{"got":{"a":"1","b":" "}}');
  const start = to("/json", { REQUEST_METHOD: "POST", CONTENT_TYPE: "application/json" });
  const open = Buffer.concat([start, Buffer.from('{"b":2}')]);
  expect((await ask("express", open)).body).toBe('{"got":{"b":2}}');
  expect(await ask("express", json("/json", "{"))).toMatchObject({
    status: "Status: 400 Bad Request",
  });
});

test("Express serves files: types, ranges, validators", async () => {
  const { status, headers, body } = await ask("express", to("/style.css"));
  expect([status, body]).toEqual(["Status: 200 OK", "body { color: red }\n"]);
  expect(headers).toContain("Content-Type: text/css; charset=utf-8");
  expect(headers).toContain("Cache-Control: public, max-age=3600");
  const etag = headers.find((line) => line.startsWith("ETag: "))?.slice("ETag: ".length) ?? "";
  expect(await ask("express", to("/style.css", { HTTP_IF_NONE_MATCH: etag }))).toMatchObject({
    status: "Status: 304 Not Modified",
    body: "",
  });
  expect(await ask("express", to("/file", { HTTP_RANGE: "bytes=0-3" }))).toMatchObject({
    status: "Status: 206 Partial Content",
    body: "body",
  });
  const named = await ask("express", to("/style.css", { REQUEST_METHOD: "HEAD" }));
  expect(named.headers).toContain("Content-Length: 20");
  expect(named.body).toBe("");
  expect((await ask("express", to("/../app.js"))).status).toBe("Status: 404 Not Found");
});

test("Express sets cookies, redirects and streams", async () => {
  const { headers } = await ask("express", to("/cookies"));
  expect(headers).toContain("Set-Cookie: a=1; Path=/; HttpOnly");
  expect(headers).toContain("Set-Cookie: b=2; Path=/");
  const { status, headers: to302 } = await ask("express", to("/go"));
  expect(status).toBe("Status: 302 Found");
  expect(to302).toContain("Location: /hello/there");
  expect((await ask("express", to("/stream"))).body).toBe("one two three");
});

test("Express handles errors, thrown and rejected", async () => {
  expect(await ask("express", to("/throw"))).toMatchObject({
    status: "Status: 500 Internal Server Error",
    body: "handled: thrown",
  });
  expect(await ask("express", to("/reject"))).toMatchObject({
    status: "Status: 418 I'm a Teapot",
    body: "handled: rejected",
  });
});

test("Express answers several requests on one session", async () => {
  using session = connected(instanceOf("express"));
  const keep = { SESSION_KEEP: "1" };
  const requests = [to("/stream", keep), to("/style.css", keep), to("/hello/last")];
  await sendAll(session.number, Buffer.concat(requests));
  const all = await readToEnd(session.number);
  expect(all.match(/Status: 200 OK/g)?.length).toBe(3);
  expect(all).toContain("4\r\none \r\n");
  expect(all).toContain("body { color: red }\nStatus: 200 OK");
  expect(all).toEndWith("Hello last");
});

test("Fastify routes, validates, hooks and knows its client", async () => {
  const { headers, body } = await ask("fastify", to("/hello/you"));
  expect(headers).toContain("x-hook: ran");
  expect(headers).toContain("content-type: application/json; charset=utf-8");
  expect(body).toBe('{"hello":"you"}');
  const client = to("/client", { REMOTE_ADDR: "127.0.0.1", HTTP_X_FORWARDED_FOR: "198.51.100.7" });
  expect(JSON.parse((await ask("fastify", client)).body)).toMatchObject({ ip: "198.51.100.7" });
  expect((await ask("fastify", json("/json", '{"a":1}'))).body).toBe('{"got":{"a":1}}');
  expect((await ask("fastify", json("/json", '{"a":"x"}'))).status).toBe("Status: 400 Bad Request");
  const large = json("/json", `{"a":1,"b":"${"x".repeat(2_000)}"}`);
  expect((await ask("fastify", large)).status).toBe("Status: 413 Payload Too Large");
});

test("Fastify streams files, sets cookies, redirects and handles errors", async () => {
  expect((await ask("fastify", to("/file"))).body).toContain('"main": "main.js"');
  const { headers } = await ask("fastify", to("/cookies"));
  expect(headers).toContain("set-cookie: a=1");
  expect(headers).toContain("set-cookie: b=2");
  expect((await ask("fastify", to("/go"))).headers).toContain("location: /hello/there");
  expect(JSON.parse((await ask("fastify", to("/throw"))).body)).toMatchObject({
    statusCode: 500,
    message: "thrown",
  });
  expect((await ask("fastify", to("/nowhere"))).status).toBe("Status: 404 Not Found");
});

test("both say where they listen as they would by themselves", async () => {
  await until("Express says it", () => lines.includes("express listens"));
  await until(
    "Fastify says it",
    () => lines.some((line) => /^fastify listens at http:\/\/127\.0\.0\.1:3000$/.test(line)),
    () => lines,
  );
});
