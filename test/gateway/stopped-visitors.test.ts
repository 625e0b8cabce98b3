/**
 * Visitors who send or read slowly, or stop, hold nothing that others need: with one process of an
 * application, everybody else is served beside them.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";

import { until, within } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { echoes, type Echo } from "../http/raw/echo.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

interface Scene {
  readonly gateway: Gateway;
  readonly url: string;
  readonly port: number;
}

/** One process of the application, with one request at once. */
async function serve({ type, file, text }: Echo, more = ""): Promise<Scene> {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app", file), text);
  const atOnce = type === "rack" || type === "wsgi" ? "threads" : "concurrency";
  const config = `listen = ["127.0.0.1:0"]
${more}
[pool]
max = 1
[[apps]]
root = "app"
type = "${type}"
${atOnce} = 1
[apps.env]
REACHED = "/dev/null"
`;
  writeFileSync(join(directory, "pool.toml"), config);
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  const url = await gateway.address();
  return { gateway, url, port: Number(new URL(url).port) };
}

/** A visitor who has sent this, and reads nothing. */
async function stopped({ port }: Scene, text: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  socket.pause();
  await new Promise((resolve) => socket.write(text, resolve));
  return socket;
}

async function greet({ url }: Scene): Promise<string> {
  return within(
    "the answer beside slow visitors",
    fetch(`${url}/plain`).then((r) => r.text()),
  );
}

/** All that comes until the end. */
async function readAll(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on("data", (piece: Buffer) => pieces.push(piece));
  socket.resume();
  await within("the end", new Promise((resolve) => socket.once("close", resolve)));
  return Buffer.concat(pieces);
}

const post = "POST /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
const bytes = 12_000_000;

for (const echo of echoes) {
  test(`${echo.type}: who sends slowly holds no process, and his body comes whole`, async () => {
    const scene = await serve(echo);
    const length = await stopped(scene, `${post}Content-Length: 70000\r\n\r\nx`);
    const chunked = await stopped(scene, `${post}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n`);
    expect(await greet(scene)).toBe("Hello\n");
    length.write("y".repeat(69_999));
    chunked.write(`3\r\nyyy\r\n${(60_000).toString(16)}\r\n${"z".repeat(60_000)}\r\n0\r\n\r\n`);
    for (const [socket, body] of [
      [length, `x${"y".repeat(69_999)}`],
      [chunked, `xyyy${"z".repeat(60_000)}`],
    ] as const) {
      // An answer in chunks has as many as it was read in pieces.
      const answered = (await readAll(socket)).toString("latin1").replace(/\r\n[0-9a-f]+\r\n/g, "");
      const noted = JSON.parse(/^\{.*\}$/m.exec(answered)?.[0] ?? "{}") as { b?: string };
      expect(Buffer.from(noted.b ?? "", "base64").toString("latin1")).toBe(body);
    }
    await scene.gateway.end();
  });

  test(`${echo.type}: who does not read holds no process, and gets all of it when he does`, async () => {
    const scene = await serve(echo);
    const get = `GET /big?n=${bytes} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
    const visitors = [await stopped(scene, get), await stopped(scene, get)];
    expect(await greet(scene)).toBe("Hello\n");
    for (const socket of visitors) {
      const answered = await readAll(socket);
      const head = answered.indexOf("\r\n\r\n") + 4;
      expect(answered.subarray(0, head).toString("latin1")).toMatch(
        new RegExp(`^HTTP/1.1 200 [\\s\\S]*content-length: ${bytes}\\r\\n`, "i"),
      );
      expect(answered.length - head).toBe(bytes);
    }
    await scene.gateway.end();
  });
}

/** How long after asking a visitor leaves, in ms: before, while and after the answer begins. */
const leavingAfterMs = [0, 0, 1, 2, 3, 5, 8, 13, 0, 1, 2, 3];

for (const echo of echoes) {
  test(`${echo.type}: who leaves at any moment leaves the process free`, async () => {
    const scene = await serve(echo);
    expect(await greet(scene)).toBe("Hello\n");
    for (const ms of leavingAfterMs) {
      const visitor = await stopped(scene, `GET /big?n=${bytes} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await Bun.sleep(ms);
      visitor.destroy();
      expect(await greet(scene)).toBe("Hello\n");
    }
    await scene.gateway.end();
  });
}

const [, , , bun] = echoes;

test("visitors who stop and leave leave no file and no descriptor behind", async () => {
  if (bun === undefined) throw new Error("no application");
  const scene = await serve(bun);
  await greet(scene);
  const [worker] = scene.gateway.workers;
  if (worker === undefined) throw new Error("no worker");
  const before = openDescriptors(worker.pid).size;
  const files = (): string[] =>
    [...openDescriptors(worker.pid).values()].filter((name) => name.includes("(deleted)"));
  // More than what a first body may have of the memory for all.
  const half = "y".repeat(5_000_000);
  const visitors = await Promise.all([
    ...Array.from({ length: 10 }, () =>
      stopped(scene, `${post}Content-Length: 10000000\r\n\r\n${half}`),
    ),
    ...Array.from({ length: 10 }, () =>
      stopped(scene, `GET /big?n=${bytes} HTTP/1.1\r\nHost: a\r\n\r\n`),
    ),
  ]);
  await until("bodies and answers are in files", () => files().length >= 20, files);
  for (const socket of visitors) socket.destroy();
  await until("all is closed", () => openDescriptors(worker.pid).size <= before, files);
  expect(await greet(scene)).toBe("Hello\n");
  await scene.gateway.end();
});

test("a body beyond max_body_size is refused before all of it has come", async () => {
  if (bun === undefined) throw new Error("no application");
  const scene = await serve(bun, '[limits]\nmax_body_size = "100k"');
  const size = (102_401).toString(16);
  const chunk = "x".repeat(102_401);
  const chunked = await stopped(
    scene,
    `${post}Transfer-Encoding: chunked\r\n\r\n${size}\r\n${chunk}`,
  );
  expect((await readAll(chunked)).toString("latin1")).toStartWith("HTTP/1.1 413 ");
  const said = await stopped(scene, `${post}Content-Length: 200000\r\n\r\nx`);
  expect((await readAll(said)).toString("latin1")).toStartWith("HTTP/1.1 413 ");
  await scene.gateway.end();
});
