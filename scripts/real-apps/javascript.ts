/** Real applications for Node and Bun that are started as they are written. */
import type { RealApp } from "./real-app.ts";
import { check, contains, type Visitor } from "./visitor.ts";
import { PollingClient } from "./wsgi.ts";

async function echo(visitor: Visitor, path: string): Promise<void> {
  const socket = await visitor.socket(path);
  socket.send("hello");
  await socket.next("hello");
  socket.close();
}

const express: RealApp = {
  name: "Express",
  type: "node",
  npm: { express: "5.3.0" },
  files: {
    "app.js": `
const express = require("express");
const app = express();
app.use("/files", express.static("files"));
app.post("/items", express.json(), (request, response) => {
  response.json({ length: request.body.name.length });
});
app.get("/fails", async () => { throw new Error("it fails"); });
app.listen(3000);
`,
    "files/one.txt": "one",
  },
  tried: "JSON, file, failing handler",
  isQuick: true,
  drive: async (visitor) => {
    await visitor.jsonBack("/items");
    contains(await visitor.page("/files/one.txt"), "one");
    await visitor.page("/fails", {}, 500);
  },
};

const fastify: RealApp = {
  name: "Fastify",
  type: "node",
  npm: { fastify: "4.29.1" },
  files: {
    "app.js": `
const { Readable } = require("node:stream");
const app = require("fastify")({ logger: true });
const schema = { body: { type: "object", required: ["name"] } };
app.post("/items", { schema }, async (request) => ({ length: request.body.name.length }));
app.get("/numbers", (_, reply) => {
  reply.send(Readable.from(Array.from({ length: 1000 }, (_, number) => number + ",")));
});
app.listen({ port: 3000 });
`,
  },
  tried: "JSON, schema, stream",
  isQuick: true,
  drive: async (visitor) => {
    await visitor.jsonBack("/items");
    await visitor.json("/items", {}, 400);
    contains(await visitor.page("/numbers"), "998,999,");
  },
};

const ws: RealApp = {
  name: "ws",
  type: "node",
  npm: { ws: "8.23.0" },
  files: {
    "server.mjs": `
import { WebSocketServer } from "ws";
const server = new WebSocketServer({ port: 3000 });
server.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
`,
  },
  settings: ['startup_file = "server.mjs"'],
  tried: "WebSocket",
  isQuick: true,
  drive: (visitor) => echo(visitor, "/"),
};

const socketIo: RealApp = {
  name: "socket.io",
  type: "node",
  npm: { "socket.io": "4.8.4" },
  files: {
    "server.js": `
const server = require("node:http").createServer((request, response) => response.end("chat"));
const io = new (require("socket.io").Server)(server);
io.on("connection", (socket) => socket.on("who", (answer) => answer(process.pid)));
server.listen(3000);
`,
  },
  settings: ["instances = 4", "sticky = true"],
  tried: "12 visitors, by polling",
  isQuick: true,
  drive: async (visitor) => {
    await visitor.page("/");
    const pids = new Set<string>();
    // More of them where the other processes are not there yet.
    for (let n = 0; n < 12 || (pids.size === 1 && n < 1000); n += 1) {
      const client = new PollingClient(visitor.another());
      await client.open();
      const answers = new Set<string>();
      for (let turn = 0; turn < 3; turn += 1) {
        await client.send(`42${turn}["who"]`);
        answers.add(/\[(\d+)\]/.exec(await client.poll())?.[1] ?? "nobody");
      }
      check(answers.size === 1, `one process answers one visitor, not ${[...answers].join(", ")}`);
      for (const pid of answers) pids.add(pid);
    }
    check(pids.size > 1 && !pids.has("nobody"), `several answer: ${[...pids].join(", ")}`);
  },
};

const hono: RealApp = {
  name: "Hono",
  type: "bun",
  npm: { hono: "4.13.19" },
  files: {
    "server.ts": `
import { Hono } from "hono";
import { serveStatic, upgradeWebSocket, websocket } from "hono/bun";
const app = new Hono();
app.post("/items", async (c) => c.json({ length: (await c.req.json()).name.length }));
app.use("/files/*", serveStatic({ root: "./" }));
app.get("/echo", upgradeWebSocket(() => ({
  onMessage: ({ data }, socket) => socket.send(data),
})));
export default { fetch: app.fetch, websocket };
`,
    "files/one.txt": "one",
  },
  tried: "JSON, file, WebSocket",
  isQuick: true,
  drive: async (visitor) => {
    await visitor.jsonBack("/items");
    contains(await visitor.page("/files/one.txt"), "one");
    await echo(visitor, "/echo");
  },
};

const elysia: RealApp = {
  name: "Elysia",
  type: "bun",
  npm: { elysia: "1.4.30" },
  files: {
    "index.ts": `
import { Elysia, t } from "elysia";
const item = { body: t.Object({ name: t.String() }) };
new Elysia()
  .get("/", () => "hello from Elysia")
  .post("/items", ({ body }) => ({ length: body.name.length }), item)
  .ws("/echo", { message: (socket, message) => { socket.send(message); } })
  .listen(3000);
`,
  },
  tried: "JSON, schema, WebSocket",
  drive: async (visitor) => {
    contains(await visitor.page("/"), "hello from Elysia");
    await visitor.jsonBack("/items");
    await visitor.json("/items", {}, 422);
    await echo(visitor, "/echo");
  },
};

export const javaScriptApps: readonly RealApp[] = [express, fastify, ws, socketIo, hono, elysia];
