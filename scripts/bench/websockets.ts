/**
 * What WebSockets cost behind the gateway, beside the same Node program alone.
 *
 *     bun scripts/bench.ts websockets [--open 5000] [--connections 16] [--rounds 3] [--seconds 2]
 *                                     [--server PATH] [--write FILE]
 *
 * First so many are opened and left alone: the memory that each takes in the worker. Then a few
 * send messages, each as soon as the last has come back, to the gateway and to Node in turn.
 */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Socket } from "bun";

import { withoutAutogroup } from "./autogroup.ts";
import { machineLine } from "./document.ts";
import { numberFlag, readFlags } from "./flags.ts";
import { measured, say, usualFlags } from "./frame.ts";
import { ENVIRONMENT } from "./http-servers.ts";
import { markdownTable, show } from "./http-table.ts";
import { commandOf, pssKiB, withDescendants } from "./process-tree.ts";
import { median } from "./rows.ts";
import { freePort, StartedServer } from "./started-server.ts";

const MODULES = join(import.meta.dir, "..", "..", "node_modules");
/** Every message comes back as it is: `ws`, the library that most programs for Node use. */
const PROGRAM = `
const http = require("node:http");
const { WebSocketServer } = require("ws");
const server = http.createServer((request, response) => response.end("Hello from Node\\n"));
new WebSocketServer({ server, perMessageDeflate: false }).on("connection", (socket) => {
  socket.on("message", (message, binary) => socket.send(message, { binary }));
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
`;
const MESSAGE_BYTES = [32, 16_384];
/** Connections opened at once: no more than wait to be accepted. */
const CONNECTING = 250;
const OPEN_LIMIT_MS = 30_000;
/** Until the memory of a process says what it holds. */
const SETTLE_MS = 1000;
const WARM_MS = 3000;
const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: localhost",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "\r\n",
].join("\r\n");

const readOptions = (args: string[]) =>
  readFlags(args, {
    ...usualFlags,
    open: numberFlag(5000),
    connections: numberFlag(16),
    rounds: numberFlag(3),
    seconds: numberFlag(2),
  });
type Options = ReturnType<typeof readOptions>;

/** A binary message of a client (RFC 6455, 5.2), masked with zeros. */
function maskedMessage(bytes: number): Buffer {
  const length = bytes < 126 ? [0x80 | bytes] : [0x80 | 126, bytes >> 8, bytes & 0xff];
  return Buffer.concat([Buffer.from([0x82, ...length, 0, 0, 0, 0]), Buffer.alloc(bytes, "x")]);
}

/** One WebSocket. What comes back is counted by its length: a server's messages are not masked. */
class Echo {
  messages = 0;
  readonly #message: Buffer;
  readonly #opened = Promise.withResolvers<void>();
  #socket: Socket | undefined;
  #isOpen = false;
  #wantedBytes = 0;
  #sends = false;

  constructor(bytes: number) {
    this.#message = maskedMessage(bytes);
  }

  /** @throws Error when the server does not answer 101 in time. */
  async open(port: number): Promise<void> {
    const timer = setTimeout(() => {
      this.#opened.reject(new Error(`port ${port} opens no WebSocket`));
    }, OPEN_LIMIT_MS);
    this.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open: (socket) => {
          socket.write(UPGRADE);
        },
        data: (socket, chunk) => this.#receive(socket, chunk),
        close: () => this.#opened.reject(new Error(`port ${port} closed a WebSocket`)),
        error: () => {}, // close follows
      },
    });
    await this.#opened.promise;
    clearTimeout(timer);
  }

  /** Sends from now on, each message when the last has come back. */
  send(): void {
    this.#sends = true;
    if (this.#socket !== undefined) this.#sendOne(this.#socket);
  }

  leave(): void {
    this.#sends = false;
    this.#socket?.terminate();
  }

  #sendOne(socket: Socket): void {
    this.#wantedBytes = this.#message.length - 4;
    socket.write(this.#message);
  }

  #receive(socket: Socket, chunk: Buffer): void {
    if (!this.#isOpen) {
      if (chunk.toString("latin1", 0, 12) !== "HTTP/1.1 101") return this.leave();
      this.#isOpen = true;
      this.#opened.resolve();
      return;
    }
    this.#wantedBytes -= chunk.length;
    if (this.#wantedBytes > 0 || !this.#sends) return;
    this.messages += 1;
    this.#sendOne(socket);
  }
}

async function openAll(port: number, count: number, bytes: number): Promise<Echo[]> {
  const echoes: Echo[] = [];
  while (echoes.length < count) {
    const more = Array.from({ length: Math.min(CONNECTING, count - echoes.length) }, () => {
      return new Echo(bytes);
    });
    await Promise.all(more.map((echo) => echo.open(port)));
    echoes.push(...more);
  }
  return echoes;
}

/** @returns messages that came back, a second. */
async function rate(port: number, connections: number, bytes: number, ms: number): Promise<number> {
  const echoes = await openAll(port, connections, bytes);
  const began = performance.now();
  for (const echo of echoes) echo.send();
  await Bun.sleep(ms);
  const messages = echoes.reduce((sum, echo) => sum + echo.messages, 0);
  const seconds = (performance.now() - began) / 1000;
  for (const echo of echoes) echo.leave();
  return messages / seconds;
}

/** The program, where it finds its library. */
function makeApp(directory: string): string {
  const root = join(directory, "app");
  mkdirSync(root);
  writeFileSync(join(root, "app.js"), PROGRAM);
  symlinkSync(MODULES, join(root, "node_modules"));
  return root;
}

interface Scene {
  readonly server: StartedServer;
  readonly port: number;
}

async function startServe({ server }: Options, root: string, directory: string): Promise<Scene> {
  const port = await freePort();
  const listen = ["--listen", `127.0.0.1:${port}`, "--workers", "1", "--access-log", "off"];
  const argv = [server, "serve", root, ...listen, "--type", "node"];
  const command = { argv, cwd: directory, env: ENVIRONMENT };
  return {
    server: await StartedServer.start("serve", [command], port, join(directory, "serve.log")),
    port,
  };
}

async function startNode(root: string, directory: string): Promise<Scene> {
  const port = await freePort();
  const command = { argv: ["node", "app.js"], cwd: root, env: { ...ENVIRONMENT, PORT: `${port}` } };
  return {
    server: await StartedServer.start("Node", [command], port, join(directory, "node.log")),
    port,
  };
}

/** What an open WebSocket without a message takes in the worker, in KiB. */
async function measureOpen({ server, port }: Scene, count: number): Promise<number> {
  const [first] = await openAll(port, 1, 1);
  const workers = withDescendants(server.pids).filter(({ pid }) =>
    commandOf(pid).endsWith(" gateway-worker"),
  );
  const before = pssKiB(workers);
  const echoes = await openAll(port, count, 1);
  await Bun.sleep(SETTLE_MS);
  const each = (pssKiB(workers) - before) / count;
  for (const echo of [...echoes, first]) echo?.leave();
  return each;
}

async function measure(options: Options, directory: string): Promise<string> {
  const root = makeApp(directory);
  const serve = await startServe(options, root, directory);
  await using _serve = serve.server;
  const node = await startNode(root, directory);
  await using _node = node.server;
  const each = await measureOpen(serve, options.open);
  const rows: string[][] = [];
  for (const bytes of MESSAGE_BYTES) {
    for (const { port } of [serve, node]) await rate(port, options.connections, bytes, WARM_MS);
    const ours: number[] = [];
    const alone: number[] = [];
    for (let round = 0; round < options.rounds; round++) {
      ours.push(await rate(serve.port, options.connections, bytes, options.seconds * 1000));
      alone.push(await rate(node.port, options.connections, bytes, options.seconds * 1000));
    }
    const ratio = median(ours.map((figure, round) => figure / (alone[round] ?? Number.NaN)));
    const size = bytes.toLocaleString("en-US");
    rows.push([size, show(median(ours)), `${show(median(alone))} (${ratio.toFixed(2)})`]);
  }
  const open = options.open.toLocaleString("en-US");
  return [
    `${machineLine()}\n`,
    `${markdownTable(["bytes a message", "serve, messages/s", "Node alone"], rows, 1)}\n`,
    `${open} open ones take ${show(each)} KiB each in the worker.`,
  ].join("\n");
}

/** Runs it (frame.ts). */
export async function benchWebsockets(args: string[]): Promise<void> {
  const options = readOptions(args);
  await measured("websockets", options, async (directory) => {
    return { text: await withoutAutogroup(say, () => measure(options, directory)) };
  });
}
