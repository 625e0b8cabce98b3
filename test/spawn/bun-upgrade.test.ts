/** Bun applications behind Bun's own server: WebSockets, and who asks. */
import { afterEach, beforeAll, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { BareInstance } from "./bare-instance.ts";
import { nextAnswer } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { exchange, get, parseAnswer, writeApp } from "./support.ts";
import { upgrade, WebSocketSession, webSocketRequest } from "./web-socket.ts";

const bun = `
  const server = Bun.serve({
    routes: { "/client": (request, server) => Response.json(
      [server.requestIP(request), [...request.headers.keys()].sort()]) },
    fetch(request, server) {
      if (new URL(request.url).pathname === "/refused") return new Response("no", { status: 401 });
      const { address } = server.requestIP(request) ?? {};
      if (server.upgrade(request, { data: address, headers: { "x-more": "1" } })) return;
      return new Response("plain");
    },
    websocket: {
      open(socket) {
        socket.send(["hello", socket.data, socket.remoteAddress].join(" "));
        socket.subscribe("all");
      },
      message(socket, message) {
        if (message === "flood") {
          let sent = 0;
          while (socket.send("f".repeat(100_000)) > 0) sent += 1;
          console.log("flooded " + sent);
        } else if (message === "publish") server.publish("all", "published");
        else socket.send(message);
      },
      drain() { console.log("drained"); },
      close(_, code) { console.log("closed " + code); },
    },
  });
`;

const hono = `
  import { Hono } from "hono";
  import { createBunWebSocket, getConnInfo } from "hono/bun";
  const { upgradeWebSocket, websocket } = createBunWebSocket();
  const app = new Hono();
  app.get("/plain", (c) => c.text("plain " + getConnInfo(c).remote.address));
  app.get("/ws", upgradeWebSocket((c) => ({
    onOpen: (_, ws) => ws.send("hono " + getConnInfo(c).remote.address),
    onMessage: ({ data }, ws) => ws.send("got " + data),
  })));
  export default { fetch: app.fetch, websocket };
`;

const express = `
  import express from "express";
  const app = express();
  app.get("/client", (request, response) => response.json([request.ip, Object.keys(request.headers),
    request.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())]));
  app.listen(3000);
`;

const { directory } = spawnerScene();
const roots: Record<string, string> = {};
const begun: BareInstance[] = [];
const client = { REMOTE_ADDR: "203.0.113.9", REMOTE_PORT: "4711" };

beforeAll(() => {
  symlinkSync(join(import.meta.dir, "../../node_modules"), join(directory, "node_modules"));
  for (const [name, text] of Object.entries({ bun, hono, express })) {
    roots[name] = writeApp(directory, name, { "server.ts": text });
  }
});

afterEach(async () => {
  await Promise.all(begun.splice(0).map((instance) => instance.end()));
});

async function begin(name: string, concurrency = 4): Promise<BareInstance> {
  const instance = new BareInstance(directory);
  begun.push(instance);
  return instance.begin(roots[name] ?? "", "bun", { concurrency });
}

const isSaid = (instance: BareInstance, text: string) =>
  until(
    `it says ${text}`,
    () => instance.lines.some((line) => line.includes(text)),
    () => instance.lines,
  );

test("opens a WebSocket of Bun's, that knows its client, and closes it", async () => {
  const instance = await begin("bun", 1);
  const socket = await WebSocketSession.open(instance.connect(), webSocketRequest("/", client));
  expect(await socket.receive()).toBe("hello 203.0.113.9 203.0.113.9");
  // It takes no place of the one that there is, and is done for the pool.
  expect(instance.done()).toBe(1);
  using other = await WebSocketSession.open(instance.connect(), webSocketRequest("/", client));
  await other.receive();
  for (const text of ["hello", "x".repeat(100_000)]) {
    await socket.send(text);
    expect(await socket.receive()).toBe(text);
  }
  await other.send("publish");
  expect([await socket.receive(), await other.receive()]).toEqual(["published", "published"]);
  await socket.finish();
  expect(await socket.receive()).toBe("closed 1000");
  expect(await readToEnd(socket.fd)).toBe("");
  socket.close();
  await isSaid(instance, "closed 1000");
  expect(instance.done()).toBe(2);
});

test("holds the program back while its client does not read", async () => {
  const instance = await begin("bun");
  using socket = await WebSocketSession.open(instance.connect(), webSocketRequest("/", client));
  await socket.receive();
  await socket.send("flood");
  await isSaid(instance, "flooded");
  const sent = Number(instance.lines.find((line) => line.includes("flooded"))?.split(" ")[1]);
  expect(sent).toBeLessThan(100);
  for (let count = 0; count <= sent; count += 1) {
    expect((await socket.receive()).length).toBe(100_000);
  }
  await isSaid(instance, "drained");
});

test("answers where the program does not upgrade, and keeps the session", async () => {
  const instance = await begin("bun");
  using session = instance.connect();
  await sendAll(session.number, webSocketRequest("/refused"));
  const { head, body } = await nextAnswer(session);
  expect([head.split("\r\n")[0], body]).toEqual(["Status: 401 Unauthorized", "no"]);
  await sendAll(session.number, upgrade("other"));
  expect((await nextAnswer(session)).body).toBe("plain");
});

test("tells routes who asks", async () => {
  const instance = await begin("bun");
  const asked = async (variables: Readonly<Record<string, string>>) => {
    const request = get({ REQUEST_URI: "/client", HTTP_HOST: "a", ...variables });
    return JSON.parse(parseAnswer(await exchange(instance, request)).body) as unknown;
  };
  const address = { address: "203.0.113.9", port: 4711, family: "IPv4" };
  expect(await asked(client)).toEqual([address, ["host"]]);
  expect(await asked({})).toEqual([null, ["host"]]);
});

test("shows Express on Bun who asks, and nothing of how it is told", async () => {
  const instance = await begin("express");
  using session = instance.connect();
  for (const REMOTE_ADDR of ["203.0.113.9", "2001:db8::1"]) {
    const variables = { REQUEST_URI: "/client", HTTP_HOST: "a", SESSION_KEEP: "1", REMOTE_ADDR };
    await sendAll(session.number, get(variables));
    const { body } = await nextAnswer(session);
    expect(JSON.parse(body)).toEqual([REMOTE_ADDR, ["host"], ["host"]]);
  }
});

test("opens a WebSocket of Hono's, and serves the rest of it", async () => {
  const instance = await begin("hono");
  using socket = await WebSocketSession.open(instance.connect(), webSocketRequest("/ws", client));
  expect(await socket.receive()).toBe("hono 203.0.113.9");
  await socket.send("this");
  expect(await socket.receive()).toBe("got this");
  const plain = await exchange(instance, get({ REQUEST_URI: "/plain", ...client }));
  expect(parseAnswer(plain).body).toBe("plain 203.0.113.9");
});
