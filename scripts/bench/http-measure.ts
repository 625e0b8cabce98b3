/**
 * The measurements of `bench http`. All servers of one kind of application are started side by
 * side and loaded in turn, one for a short time and then the next, so that whatever else the
 * machine does meets them all alike.
 */
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";

import { APPS } from "./frame.ts";
import { makeApps, MANY_APPS, MANY_PLACES, type ManyServer } from "./http-many.ts";
import { type HttpType, ENVIRONMENT, type HttpServer } from "./http-servers.ts";
import type { Figure } from "./http-table.ts";
import { freePort, StartedServer } from "./started-server.ts";
import { type Load, type LoadResult, runWrk } from "./wrk.ts";

export interface Extent {
  readonly connections: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  /** An empty directory. */
  readonly directory: string;
  readonly say: (line: string) => void;
}

const BODY_CONNECTIONS = 16;
const BROWSER_CONNECTIONS = 16;
const THREADS_CONNECTIONS = 64;
/** For an application that does not wait, in threads. */
export const HELLO_CONNECTIONS = [16, 64];
const MEGABYTES_EACH = 1.048576;
/** Until compilers have seen enough, and pools have grown to the load. */
const FIRST_WARM_SECONDS = 5;
const WARM_SECONDS = 1;
const FIRST_LIMIT_MS = 30_000;
const LOOK_MS = 2;
/** A start varies more than a second under load does. */
const FIRST_ROUNDS = 5;
/** Until a server that has just started or answered is idle. */
const SETTLE_MS = 1500;

/** Loading the application with nothing around it, to its end. */
const BY_HAND: Partial<Record<HttpType, readonly string[]>> = {
  rack: ["ruby", "-e", 'require "rack"; Rack::Builder.parse_file("config.ru")'],
  wsgi: ["python3", "-c", 'import runpy; runpy.run_path("passenger_wsgi.py")'],
  asgi: ["python3", "-c", 'import asyncio, runpy; runpy.run_path("asgi.py")'],
};

/** Figures by server and column, while they come in. */
class Notes {
  readonly #group: string;
  readonly #runs = new Map<string, { server: string; column: string; runs: number[] }>();

  constructor(group: string) {
    this.#group = group;
  }

  add(server: string, column: string, value: number): void {
    const key = `${server}\n${column}`;
    const noted = this.#runs.get(key) ?? { server, column, runs: [] };
    noted.runs.push(value);
    this.#runs.set(key, noted);
  }

  figures(): Figure[] {
    return [...this.#runs.values()].map((noted) => ({ group: this.#group, ...noted }));
  }
}

let starts = 0;

async function start(
  server: HttpServer,
  type: HttpType,
  extent: Extent,
  logs = false,
): Promise<StartedServer> {
  starts += 1;
  const directory = join(extent.directory, String(starts));
  const root = join(directory, "app");
  cpSync(join(APPS, type), root, { recursive: true });
  const own = join(directory, "own");
  mkdirSync(own);
  const [port, innerPort] = [await freePort(), await freePort()];
  const commands = server.commands({ type, root, directory: own, port, innerPort, logs });
  const started = await StartedServer.start(server.name, commands, port, join(directory, "log"));
  if (!server.lazy) await untilAnswered(started, server.name);
  return started;
}

/** Where a proxy accepts before what is behind it does. */
async function untilAnswered(server: StartedServer, name: string): Promise<void> {
  for (const end = performance.now() + FIRST_LIMIT_MS; ; await Bun.sleep(LOOK_MS)) {
    try {
      await askOnce(server, name);
      return;
    } catch (cause) {
      if (performance.now() < end) continue;
      await server.stop();
      throw new Error(`${name} does not answer`, { cause });
    }
  }
}

/** Asks once. @returns how long the whole answer took, in milliseconds. */
async function askOnce(server: StartedServer, name: string): Promise<number> {
  const began = performance.now();
  const signal = AbortSignal.timeout(FIRST_LIMIT_MS);
  const answer = await fetch(server.url, { signal, keepalive: false });
  const text = await answer.text();
  if (!text.startsWith("Hello")) throw new Error(`${name} answered ${answer.status} ${text}`);
  return performance.now() - began;
}

async function byHand(argv: readonly string[], cwd: string): Promise<number> {
  const began = performance.now();
  const child = Bun.spawn([...argv], { cwd, env: { ...ENVIRONMENT }, stdout: "ignore" });
  if ((await child.exited) !== 0) throw new Error(`${argv.join(" ")}: status ${child.exitCode}`);
  return performance.now() - began;
}

/** From a server's start to its first answer, and the memory of all of it once it is idle. */
async function measureStart(
  servers: readonly HttpServer[],
  type: HttpType,
  extent: Extent,
  notes: Notes,
): Promise<void> {
  for (let round = 0; round < extent.rounds; round++) {
    for (const server of servers) {
      const began = performance.now();
      await using started = await start(server, type, extent);
      if (server.lazy) await askOnce(started, server.name);
      notes.add(server.name, "from start, ms", performance.now() - began);
      await Bun.sleep(SETTLE_MS);
      notes.add(server.name, "idle, MiB", started.pssKiB() / 1024);
    }
  }
}

/** The first request to a server that runs, is idle, and has no instance. */
async function measureFirst(
  servers: readonly HttpServer[],
  type: HttpType,
  extent: Extent,
  notes: Notes,
): Promise<void> {
  const lazy = servers.filter((server) => server.lazy);
  for (let round = 0; round < FIRST_ROUNDS; round++) {
    for (const server of lazy) {
      await using started = await start(server, type, extent);
      await Bun.sleep(SETTLE_MS);
      notes.add(server.name, "first, ms", await askOnce(started, server.name));
    }
    const argv = BY_HAND[type];
    if (argv === undefined) continue;
    notes.add("loading it by hand", "first, ms", await byHand(argv, join(APPS, type)));
  }
}

interface Column {
  readonly load: Load;
  readonly read: (result: LoadResult) => Readonly<Record<string, number>>;
}

function bodies(name: string, load: Pick<Load, "path" | "script">): Column {
  return {
    load: { title: `1 MiB ${name}`, connections: BODY_CONNECTIONS, ...load },
    read: ({ perSecond }) => ({ [`${name}, MB/s`]: perSecond * MEGABYTES_EACH }),
  };
}

function columns(connections: readonly number[]): Column[] {
  const hello = connections.map((count): Column => ({
    load: { title: `hello, ${count} connections`, connections: count, path: "/" },
    read: ({ perSecond, p99Ms }) => ({ [`${count} conn.`]: perSecond, [`p99 at ${count}`]: p99Ms }),
  }));
  const down = bodies("down", { path: "/mebibyte" });
  return [...hello, down, bodies("up", { path: "/", script: "upload.lua" })];
}

const browser: Column = {
  load: {
    title: "a browser's headers, access logs",
    connections: BROWSER_CONNECTIONS,
    path: "/",
    script: "browser.lua",
  },
  read: ({ perSecond, p99Ms }) => ({ "logged/s": perSecond, "logged, p99": p99Ms }),
};

async function measureLoads(
  servers: readonly HttpServer[],
  type: HttpType,
  extent: Extent,
  loads: readonly Column[],
  notes: Notes,
  logs = false,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const started: { name: string; running: StartedServer }[] = [];
  for (const server of servers) {
    const running = stack.use(await start(server, type, extent, logs));
    started.push({ name: server.name, running });
    await askOnce(running, server.name);
  }
  for (const [at, { load, read }] of loads.entries()) {
    const warmSeconds = at === 0 ? FIRST_WARM_SECONDS : WARM_SECONDS;
    for (const { running } of started) await runWrk(running.url, load, warmSeconds);
    for (let round = 0; round < extent.rounds; round++) {
      for (const { name, running } of started) {
        const result = await runWrk(running.url, load, extent.seconds);
        if (result.failed > 0) extent.say(`${name}: ${result.failed} failed in ${load.title}`);
        for (const [column, value] of Object.entries(read(result))) notes.add(name, column, value);
      }
    }
    extent.say(`measured ${type}, ${load.title}`);
  }
}

/** The servers for one kind of application, in turn; the first is what the others are held to. */
export async function measureType(
  type: HttpType,
  servers: readonly HttpServer[],
  extent: Extent,
): Promise<Figure[]> {
  const notes = new Notes(type);
  await measureStart(servers, type, extent, notes);
  await measureFirst(servers, type, extent, notes);
  extent.say(`measured ${type}, first requests`);
  await measureLoads(servers, type, extent, columns(extent.connections), notes);
  return notes.figures();
}

/** What a browser asks for, by servers that write it down. */
export async function measureLogged(
  type: HttpType,
  servers: readonly HttpServer[],
  extent: Extent,
): Promise<Figure[]> {
  const notes = new Notes(type);
  await measureLoads(servers, type, extent, [browser], notes, true);
  return notes.figures();
}

/** An application that waits, and one that does not, by servers with threads. */
export async function measureThreads(
  type: HttpType,
  servers: readonly HttpServer[],
  extent: Extent,
): Promise<Figure[]> {
  const notes = new Notes(type);
  const sleeping: Column = {
    load: { title: "sleeping", connections: THREADS_CONNECTIONS, path: "/sleep" },
    read: ({ perSecond, p99Ms }) => ({ "sleeping/s": perSecond, "sleeping, p99": p99Ms }),
  };
  const hellos = HELLO_CONNECTIONS.map((connections): Column => ({
    load: { title: `hello, ${connections} connections`, connections, path: "/" },
    read: ({ perSecond, p99Ms }) => ({
      [`hello/s at ${connections}`]: perSecond,
      [`p99 at ${connections}, ms`]: p99Ms,
    }),
  }));
  await measureLoads(servers, type, extent, [sleeping, ...hellos], notes);
  return notes.figures();
}

/** Many applications in few places, by one server after the other. */
export async function measureMany(
  servers: readonly ManyServer[],
  extent: Extent,
): Promise<Figure[]> {
  const notes = new Notes(`${MANY_APPS} apps in ${MANY_PLACES}`);
  const seconds = Math.max(10, Math.ceil(5 * extent.seconds));
  const load: Load = {
    title: "many applications",
    connections: 16,
    path: "/",
    script: "many.lua",
    scriptArgs: [String(MANY_APPS)],
  };
  for (const server of servers) {
    starts += 1;
    const directory = join(extent.directory, String(starts));
    const own = join(directory, "own");
    mkdirSync(own, { recursive: true });
    const roots = makeApps(join(APPS, "rack"), directory);
    const port = await freePort();
    const commands = server.commands(roots, own, port);
    await using running = await StartedServer.start(server.name, commands, port, `${own}/log`);
    // Once round all of them, so that what is kept for each is there.
    await runWrk(running.url, load, seconds);
    const result = await runWrk(running.url, load, seconds);
    notes.add(server.name, "requests/s", result.perSecond);
    notes.add(server.name, "p99, ms", result.p99Ms);
    notes.add(server.name, "failed", result.failed);
    notes.add(server.name, "memory, MiB", running.pssKiB() / 1024);
    extent.say(`measured many applications, ${server.name}`);
  }
  return notes.figures();
}
