/** What visitors do over TLS: the same as without, and nothing that others would notice. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect as connectPlain } from "node:net";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";

import { makeCertificate } from "../helpers/certificates.ts";
import { until, within } from "../helpers/condition.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Echoes bodies; 8 MB in pieces for /stream; says what it is asked otherwise. */
const program = `export default { async fetch(request: Request) {
  const { pathname, protocol } = new URL(request.url);
  if (request.method === "POST") return new Response(await request.arrayBuffer());
  if (pathname !== "/stream") return new Response(\`<\${protocol}\${pathname}>\`);
  let left = 125;
  return new Response(new ReadableStream({ pull(controller) {
    controller.enqueue(new Uint8Array(64_000).fill(left));
    left -= 1;
    if (left === 0) controller.close();
  } }));
} };
`;
const file = Buffer.from(new Uint8Array(9_000_000).map((_, index) => (index * 7) % 251));

/** Echoes messages of WebSockets. */
const echoing = `Bun.serve({
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response("no"),
  websocket: { message: (socket, message) => void socket.send(message) },
});
`;

async function serve(text = program): Promise<{ gateway: Gateway; port: number }> {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app/public"), { recursive: true });
  writeFileSync(join(directory, "app/server.ts"), text);
  writeFileSync(join(directory, "app/public/large.bin"), file);
  makeCertificate(directory, "localhost");
  writeFileSync(
    join(directory, "pool.toml"),
    `[tls]\nlisten = ["127.0.0.1:0"]\ncertificate_file = "localhost.pem"\n` +
      `key_file = "localhost.key"\n[[apps]]\nroot = "app"\n`,
  );
  const gateway = startGateway(["--config", join(directory, "pool.toml")]);
  return { gateway, port: Number(new URL(await gateway.address()).port) };
}

function visitor(port: number): TLSSocket {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  socket.on("error", () => {});
  return socket;
}

/** What comes until the end; with `pauses`, a pause after every few pieces. */
async function readAll(socket: TLSSocket, pauses = false): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on("data", (piece: Buffer) => {
    pieces.push(piece);
    if (!pauses || pieces.length % 30 > 0) return;
    socket.pause();
    setTimeout(() => socket.resume(), 1);
  });
  await within("the end", new Promise((resolve) => socket.once("close", resolve)));
  return Buffer.concat(pieces);
}

const get = (path: string, more = ""): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const last = "Connection: close\r\n";

function bodyOf(answered: Buffer): Buffer {
  return answered.subarray(answered.indexOf("\r\n\r\n") + 4);
}

test("requests at once are answered in their order", async () => {
  const { gateway, port } = await serve();
  const socket = visitor(port);
  const paths = Array.from({ length: 30 }, (_, n) => `/${n}`);
  socket.write(paths.map((path, n) => get(path, n === 29 ? last : "")).join(""));
  const answered = (await readAll(socket)).toString("latin1");
  const seen = Array.from(answered.matchAll(/<https:([^>]*)>/g), ([, path]) => path);
  expect(seen).toEqual(paths);
  await gateway.end();
});

for (const pauses of [false, true]) {
  const who = pauses ? "a slow visitor" : "a fast one";
  test(`a large file and a large answer come whole to ${who}`, async () => {
    const { gateway, port } = await serve();
    const forFile = visitor(port);
    forFile.write(get("/large.bin", last));
    expect(bodyOf(await readAll(forFile, pauses)).equals(file)).toBe(true);
    const forPart = visitor(port);
    forPart.write(get("/large.bin", `${last}Range: bytes=1000000-4999999\r\n`));
    const part = bodyOf(await readAll(forPart, pauses));
    expect(part.equals(file.subarray(1_000_000, 5_000_000))).toBe(true);
    const forStream = visitor(port);
    forStream.write(get("/stream", last).replace("HTTP/1.1", "HTTP/1.0"));
    const stream = bodyOf(await readAll(forStream, pauses));
    const expected = Array.from({ length: 125 }, (_, n) => Buffer.alloc(64_000, 125 - n));
    expect(stream.equals(Buffer.concat(expected))).toBe(true);
    await gateway.end();
  });
}

test("a large body arrives whole", async () => {
  const { gateway, port } = await serve();
  const socket = visitor(port);
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${last}Content-Length: ${file.length}\r\n\r\n`);
  socket.write(file);
  expect(bodyOf(await readAll(socket)).equals(file)).toBe(true);
  await gateway.end();
});

test("who speaks no TLS, or stops within the greeting, harms nobody", async () => {
  const { gateway, port } = await serve();
  const plain = connectPlain({ host: "127.0.0.1", port });
  plain.on("error", () => {});
  plain.write(get("/"));
  await within("the end of it", new Promise((resolve) => plain.once("close", resolve)));
  const stopped = [Buffer.alloc(0), Buffer.from("160301", "hex")].map((bytes) => {
    const socket = connectPlain({ host: "127.0.0.1", port });
    socket.on("error", () => {});
    socket.write(bytes);
    return socket;
  });
  const socket = visitor(port);
  socket.write(get("/x", last));
  expect((await readAll(socket)).toString("latin1")).toContain("<https:/x>");
  for (const each of stopped) each.destroy();
  await gateway.end();
});

test("who leaves while a file is sent to him is let go", async () => {
  const { gateway, port } = await serve();
  const socket = visitor(port);
  let received = 0;
  socket.on("data", (data: Buffer) => (received += data.length));
  socket.write(get("/large.bin"));
  await until("some of it has come", () => received > 0);
  socket.destroy();
  const [worker] = gateway.workers;
  const opened = (): string =>
    Bun.spawnSync(["ls", "-l", `/proc/${worker?.pid}/fd`]).stdout.toString();
  await until("the file is closed", () => !opened().includes("large.bin"), opened);
  await gateway.end();
});

test("a WebSocket echoes, small and large, and is closed as it was agreed", async () => {
  const { gateway, port } = await serve(echoing);
  const options = { tls: { rejectUnauthorized: false } } as unknown as string[];
  const socket = new WebSocket(`wss://127.0.0.1:${port}/`, options);
  socket.binaryType = "arraybuffer";
  const messages: (string | number)[] = [];
  const closed = new Promise<CloseEvent>((resolve) => {
    socket.addEventListener("close", resolve);
  });
  socket.addEventListener("open", () => socket.send("text"));
  socket.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
    messages.push(typeof data === "string" ? data : data.byteLength);
    if (messages.length === 1) socket.send(new Uint8Array(2_000_000));
    else socket.close(1000);
  });
  const { code } = await within("the end of the WebSocket", closed);
  expect({ messages, code }).toEqual({ messages: ["text", 2_000_000], code: 1000 });
  await gateway.end();
});
