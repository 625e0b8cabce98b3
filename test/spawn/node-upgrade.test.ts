/** Upgrades of sessions of node applications: WebSockets of ws and socket.io, and any protocol. */
import { afterEach, beforeAll, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { BareInstance } from "./bare-instance.ts";
import { nextAnswer, readHead } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { endWriting, exchange, get, parseAnswer, writeApp } from "./support.ts";
import { upgrade, WebSocketSession, webSocketRequest } from "./web-socket.ts";

const program = `
  const http = require("node:http");
  const { WebSocketServer } = require("ws");
  const { Server } = require("socket.io");
  const server = http.createServer((request, response) => {
    if (request.url === "/paused") paused.resume();
    response.end("plain " + request.headers.upgrade);
  });
  const sockets = new WebSocketServer({ noServer: true });
  sockets.on("connection", (socket, request) => {
    const { remoteAddress } = request.socket;
    socket.send([request.url, remoteAddress, request.headers.origin].join(" "));
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on("close", (code) => console.log("closed " + code));
  });
  const io = new Server(server, { transports: ["websocket", "polling"] });
  io.on("connection", (socket) => socket.on("echo", (text) => socket.emit("echo", text)));
  let paused;
  server.on("upgrade", (request, socket, head) => {
    const { upgrade } = request.headers;
    const { pathname } = new URL(request.url, "http://a");
    if (pathname === "/socket.io/") return;
    if (pathname === "/refused") {
      socket.end("HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 2\\r\\n\\r\\nno");
    } else if (pathname === "/dropped") {
      socket.destroy();
    } else if (upgrade === "websocket") {
      const onOpen = (open) => sockets.emit("connection", open, request);
      sockets.handleUpgrade(request, socket, head, onOpen);
    } else {
      const lines = ["HTTP/1.1 101 Go On", "Connection: Upgrade", "Upgrade: " + upgrade, "", ""];
      socket.write(lines.join("\\r\\n"));
      if (pathname === "/flood") {
        const chunk = Buffer.alloc(65536, "f");
        const write = () => {
          while (socket.write(chunk));
          console.log("flooded " + socket.bytesWritten);
        };
        socket.on("drain", write); write();
      } else if (pathname === "/slow") {
        paused = socket; socket.pause(); let read = 0;
        socket.on("data", (part) => { read += part.length; });
        socket.on("end", () => socket.end("read " + read));
      } else {
        socket.write(head); socket.on("data", (part) => socket.write(part));
        socket.on("end", () => socket.end("bye"));
      }
    }
  });
  server.setTimeout(200);
  server.listen(3000);
`;

const { directory } = spawnerScene();
let root: string;
const begun: BareInstance[] = [];

beforeAll(() => {
  symlinkSync(join(import.meta.dir, "../../node_modules"), join(directory, "node_modules"));
  root = writeApp(directory, "upgrading", { "app.js": program });
});

afterEach(async () => {
  await Promise.all(begun.splice(0).map((instance) => instance.end()));
});

async function begin(concurrency = 4): Promise<BareInstance> {
  const instance = new BareInstance(directory);
  begun.push(instance);
  return instance.begin(root, "node", { concurrency });
}

const isSaid = (instance: BareInstance, text: string) =>
  until(
    `it says ${text}`,
    () => instance.lines.some((line) => line.includes(text)),
    () => instance.lines,
  );

test("opens a WebSocket of ws, with its client where the socket is, and closes it", async () => {
  const instance = await begin();
  const variables = { REMOTE_ADDR: "203.0.113.9", HTTP_ORIGIN: "http://app.test" };
  const socket = await WebSocketSession.open(
    instance.connect(),
    webSocketRequest("/ws", variables),
  );
  expect(await socket.receive()).toBe("/ws 203.0.113.9 http://app.test");
  for (const text of ["", "hello", "x".repeat(100_000)]) {
    await socket.send(text);
    expect(await socket.receive()).toBe(text);
  }
  await socket.finish();
  expect(await socket.receive()).toBe("closed 1000");
  expect(await readToEnd(socket.fd)).toBe("");
  socket.close();
  await isSaid(instance, "closed 1000");
});

test("speaks socket.io, by WebSocket and by polling", async () => {
  const instance = await begin();
  const path = "/socket.io/?EIO=4&transport=websocket";
  using socket = await WebSocketSession.open(instance.connect(), webSocketRequest(path));
  expect(await socket.receive()).toStartWith('0{"sid":');
  await socket.send("40");
  expect(await socket.receive()).toStartWith('40{"sid":');
  await socket.send('42["echo","hello"]');
  expect(await socket.receive()).toBe('42["echo","hello"]');
  const polling = await exchange(
    instance,
    get({ REQUEST_URI: path.replace("websocket", "polling") }),
  );
  expect(parseAnswer(polling).body).toStartWith('0{"sid":');
});

test("changes to any protocol, and passes on what came with the request, and each end", async () => {
  const instance = await begin();
  using session = instance.connect();
  await sendAll(session.number, Buffer.concat([upgrade("echo/2"), Buffer.from("early ")]));
  const head = await readHead(session);
  expect(head).toBe("HTTP/1.1 101 Go On\r\nConnection: Upgrade\r\nUpgrade: echo/2\r\n\r\n");
  await sendAll(session.number, Buffer.from("late"));
  expect(await readExactly(session.number, 10)).toBe("early late");
  endWriting(session.number);
  expect(await readToEnd(session.number)).toBe("bye");
});

test("reports a session done when it has changed, and not again", async () => {
  const instance = await begin(1);
  const socket = await WebSocketSession.open(instance.connect(), webSocketRequest("/ws"));
  expect(instance.done()).toBe(1);
  // It takes no place of the one that there is.
  expect(parseAnswer(await exchange(instance, get())).body).toBe("plain undefined");
  expect(instance.done()).toBe(2);
  await socket.finish();
  await readToEnd(socket.fd);
  socket.close();
  expect(parseAnswer(await exchange(instance, get())).body).toBe("plain undefined");
  expect(instance.done()).toBe(3);
});

test("passes on what a program says that refuses, and the end of one that says nothing", async () => {
  const instance = await begin();
  using refused = instance.connect();
  await sendAll(refused.number, upgrade("echo", { REQUEST_URI: "/refused" }));
  expect(await nextAnswer(refused)).toMatchObject({ body: "no" });
  expect(await readToEnd(refused.number)).toBe("");
  using dropped = instance.connect();
  await sendAll(dropped.number, upgrade("echo", { REQUEST_URI: "/dropped" }));
  expect(await readToEnd(dropped.number)).toBe("");
  await until("both are done", () => instance.done() === 2);
});

test("holds back a side that is faster than the other", async () => {
  const instance = await begin();
  using flood = instance.connect();
  await sendAll(flood.number, upgrade("echo", { REQUEST_URI: "/flood" }));
  await isSaid(instance, "flooded");
  const flooded = () => Number(instance.lines.at(-1)?.split(" ")[1]);
  const before = flooded();
  expect(before).toBeLessThan(2_000_000);
  await readExactly(flood.number, 3_000_000);
  await until("it goes on", () => flooded() > before);
  using slow = instance.connect();
  await sendAll(slow.number, upgrade("echo", { REQUEST_URI: "/slow" }));
  await readHead(slow);
  const sending = sendAll(slow.number, Buffer.alloc(3_000_000)).then(() => endWriting(slow.number));
  const first = await Promise.race([sending.then(() => "sent"), Bun.sleep(100).then(() => "held")]);
  expect(first).toBe("held");
  await exchange(instance, get({ REQUEST_URI: "/paused" }));
  await sending;
  expect(await readToEnd(slow.number)).toBe("read 3000000");
});

test("leaves a changed session alone, though the program's requests have a time limit", async () => {
  const instance = await begin();
  using socket = await WebSocketSession.open(instance.connect(), webSocketRequest("/ws"));
  await socket.receive();
  await Bun.sleep(400);
  await socket.send("still here");
  expect(await socket.receive()).toBe("still here");
});

test("answers as ever where nobody is able to change, or may", async () => {
  const instance = await begin();
  const plain = upgrade("websocket", { SESSION_KEEP: "0" });
  expect(parseAnswer(await exchange(instance, plain)).body).toBe("plain undefined");
  const unnamed = upgrade("websocket", { HTTP_CONNECTION: "keep-alive" });
  using session = instance.connect();
  await sendAll(session.number, unnamed);
  expect((await nextAnswer(session)).body).toBe("plain undefined");
});
