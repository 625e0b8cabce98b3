/**
 * What slow visitors cost the others, and what idle ones cost.
 *
 *     bun scripts/bench.ts slow [--only rack,wsgi,node,bun] [--visitors 200] [--idle 1000,10000]
 *                               [--rounds 3] [--seconds 2] [--server PATH] [--write FILE]
 *
 * Half of the slow visitors send a body of 70,000 bytes one byte after the other, the others do not
 * read an answer of 4 MiB. Beside them 16 visitors ask as fast as they are answered, in turn
 * with the same 16 alone. There are two processes of the application, fewer than slow visitors.
 */
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Socket } from "bun";

import { machineLine } from "./document.ts";
import { numberFlag, numbersFlag, readFlags, wordsFlag } from "./flags.ts";
import { APPS, measured, say, usualFlags } from "./frame.ts";
import { APP_TYPES, type AppType, ENVIRONMENT } from "./http-servers.ts";
import { markdownTable, show } from "./http-table.ts";
import { load, type Question, type Tally } from "./load-connection.ts";
import { commandOf, type ProcessFacts, pssKiB, withDescendants } from "./process-tree.ts";
import { median, quantile } from "./rows.ts";
import { freePort, StartedServer } from "./started-server.ts";

const CONNECTIONS = 16;
const INSTANCES = 2;
const UPLOAD_BYTES = 70_000;
/** A byte from each sender, so often. */
const DRIP_MS = 50;
/** As they come: what they ask for is made, all at once, and put where it waits for them. */
const COMING_MS = 1_000;
/** Until the memory of a process says what it holds. */
const SETTLE_MS = 500;
/** Connections opened at once: no more than wait to be accepted. */
const CONNECTING = 500;

const readOptions = (args: string[]) =>
  readFlags(args, {
    ...usualFlags,
    only: wordsFlag(APP_TYPES),
    visitors: numberFlag(200),
    idle: numbersFlag(1000, 10000),
    rounds: numberFlag(3),
    seconds: numberFlag(2),
  });
type Options = ReturnType<typeof readOptions>;

interface Scene {
  readonly server: StartedServer;
  readonly port: number;
}

async function start({ server }: Options, type: AppType, directory: string): Promise<Scene> {
  const place = join(directory, type);
  const root = join(place, "app");
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place);
  cpSync(join(APPS, type), root, { recursive: true });
  const port = await freePort();
  const listen = ["--listen", `127.0.0.1:${port}`, "--workers", "1", "--access-log", "off"];
  const pool = ["--type", type, "--environment", "production", "--max", `${INSTANCES}`];
  const argv = [server, "serve", root, ...listen, ...pool];
  const command = { argv, cwd: place, env: ENVIRONMENT };
  return {
    server: await StartedServer.start("serve", [command], port, join(place, "log")),
    port,
  };
}

function workerOf({ server }: Scene): ProcessFacts {
  const found = withDescendants(server.pids).find(({ pid }) =>
    commandOf(pid).endsWith(" gateway-worker"),
  );
  if (found === undefined) throw new Error("there is no worker");
  return found;
}

/** A connection on which `text` has been sent. @param reads whether its answer is read. */
function connect(port: number, text: string, reads: boolean): Promise<Socket> {
  return Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => {
        socket.write(text);
        if (!reads) socket.pause();
      },
      data: () => {},
      error: () => {}, // It is counted among those that are not there.
    },
  });
}

/** Slow visitors, who are there until they are disposed of. */
async function slowVisitors(port: number, visitors: number): Promise<Disposable> {
  const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${UPLOAD_BYTES}\r\n\r\nx`;
  const ask = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
  const half = Math.ceil(visitors / 2);
  const senders = await Promise.all(Array.from({ length: half }, () => connect(port, head, true)));
  const readers = await Promise.all(
    Array.from({ length: visitors - half }, () => connect(port, ask, false)),
  );
  const timer = setInterval(() => {
    for (const socket of senders) socket.write("x");
  }, DRIP_MS);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      for (const socket of [...senders, ...readers]) socket.terminate();
    },
  };
}

async function measureSlow(type: AppType, options: Options, directory: string): Promise<string[]> {
  const scene = await start(options, type, directory);
  await using _server = scene.server;
  const greeting = await (await fetch(scene.server.url)).text();
  const question: Question = { method: "GET", path: "/", body: "", answer: greeting };
  const ask = (forMs = options.seconds * 1000): Promise<Tally> =>
    load(scene.port, CONNECTIONS, [question], forMs);
  await ask(); // Warm.
  const alone: number[] = [];
  const coming: number[] = [];
  const beside: number[] = [];
  let failed = 0;
  let requests = 0;
  for (let round = 0; round < options.rounds; round++) {
    alone.push(quantile((await ask()).timesMs, 0.99));
    using _visitors = await slowVisitors(scene.port, options.visitors);
    for (const [ms, times] of [[COMING_MS, coming] as const, [undefined, beside] as const]) {
      const tally = await ask(ms);
      times.push(quantile(tally.timesMs, 0.99));
      failed += tally.failed;
      requests += tally.requests;
    }
  }
  const ratio = median(beside.map((each, round) => each / (alone[round] ?? Number.NaN)));
  const row = [type, show(median(alone)), show(median(beside)), ratio.toFixed(2)];
  row.push(show(median(coming)));
  row.push(`${failed} of ${requests.toLocaleString("en-US")}`);
  say(`measured ${row.join("  ")}`);
  return row;
}

/** What a connection that has made one request costs the worker, for each number of them. */
async function measureIdle(options: Options, directory: string): Promise<string[][]> {
  const scene = await start(options, "bun", directory);
  await using _server = scene.server;
  await (await fetch(scene.server.url)).text();
  const worker = workerOf(scene);
  const sockets: Socket[] = [];
  const before = pssKiB([worker]);
  const rows: string[][] = [];
  for (const wanted of options.idle) {
    while (sockets.length < wanted) {
      const more = Math.min(CONNECTING, wanted - sockets.length);
      const text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
      const made = Array.from({ length: more }, () => connect(scene.port, text, true));
      sockets.push(...(await Promise.all(made)));
    }
    await Bun.sleep(2 * SETTLE_MS);
    const open = sockets.filter(({ readyState }) => readyState === 1).length;
    const kiB = (pssKiB([worker]) - before) / wanted;
    rows.push([wanted.toLocaleString("en-US"), String(open), show(kiB)]);
    say(`measured ${wanted} idle: ${show(kiB)} KiB each`);
  }
  for (const socket of sockets) socket.terminate();
  return rows;
}

/** Runs it (frame.ts). */
export async function benchSlow(args: string[]): Promise<void> {
  const options = readOptions(args);
  await measured("slow", options, async (directory) => {
    const slow: string[][] = [];
    for (const type of options.only) slow.push(await measureSlow(type, options, directory));
    const idle = await measureIdle(options, directory);
    const columns = [
      "p99 alone, ms",
      `beside ${options.visitors}, ms`,
      "ratio",
      "as they come, ms",
      "failed",
    ];
    const tables = [
      `${machineLine()}\n`,
      `${markdownTable(["application", ...columns], slow)}\n`,
      `${markdownTable(["idle connections", "of them open", "KiB each"], idle)}\n`,
    ];
    return { text: tables.join("\n") };
  });
}
