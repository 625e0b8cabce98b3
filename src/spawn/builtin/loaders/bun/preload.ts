/**
 * The loader of bun applications: preloaded before the program, which then runs as if by `bun
 * server.ts`. It takes the program's first Bun.serve (of its own, of node:http, or Bun's for a
 * default export with `fetch`), serves sessions on descriptor 3 with it, and speaks on the
 * lifeline, descriptor 4 (PROTOCOL section 10).
 *
 * The instance leaves after the requests at hand on SIGUSR1, and after the last session when the
 * lifeline has ended. SIGTERM keeps its default action. Before it is ready nothing here keeps the
 * process alive: a program that ends without serving just ends, and says so.
 */
import { Host } from "../javascript/host.ts";
import { tellDone, tellFailure, tellReady, writeBy } from "../javascript/lifeline.ts";
import { beWorkerOfCluster } from "./cluster.ts";
import {
  makeProgram,
  type Program,
  type ProgramSession,
  type RealServe,
  type ServeOptions,
} from "./program.ts";
import { watchResponses } from "./known-bodies.ts";
import { SocketConnection } from "./session.ts";
import { startWatchdog } from "./watchdog.ts";

type SessionSocket = Bun.Socket<ProgramSession>;

const listener = 3;
const lifeline = 4;

const concurrency = Number(process.env["APPLICATION_POOL_CONCURRENCY"]);
delete process.env["APPLICATION_POOL_CONCURRENCY"];
// They made our binary the Bun runtime, had that leave no files, and its allocator keep free memory
// for a moment (allocator.ts); the program's children are its own business.
delete process.env["BUN_BE_BUN"];
delete process.env["BUN_TMPDIR"];
if (process.env["MIMALLOC_PURGE_DELAY"] === "2000") delete process.env["MIMALLOC_PURGE_DELAY"];
passOnEnvironment();

const realServe = Bun.serve as unknown as RealServe;
let program: Program | undefined;
let host: Host | undefined;

function onFailure(error: unknown): void {
  const text = Bun.inspect(error, { colors: false });
  process.getBuiltinModule("node:fs").writeSync(2, `${text}\n`);
  tellFailure(text);
  process.exit(1);
}

function onNothingServed(): void {
  tellFailure(
    "The program ended without serving: it neither exports a default with `fetch` nor calls " +
      "Bun.serve().",
  );
}

function leave(): void {
  if (host === undefined) process.exit(0);
  host.leave();
}

/** The server is gone, or in its last seconds: no session may hold the process for ever. */
const stuckMs = 10_000;

function onLifelineEnd(): void {
  const sessions = host ?? process.exit(0);
  sessions.leaveUnused();
  setTimeout(() => sessions.exit(), stuckMs).unref();
}

function serveSessions(started: Program): void {
  const sessions = new Host(concurrency, () => server.stop(), tellDone);
  host = sessions;
  const server = Bun.listen<ProgramSession>({
    fd: listener,
    allowHalfOpen: true,
    socket: {
      open: (socket: SessionSocket) => {
        socket.data = started.open(new SocketConnection(socket), sessions);
      },
      data: (socket: SessionSocket, chunk: Buffer) => socket.data.data(chunk),
      end: (socket: SessionSocket) => socket.data.end(),
      drain: (socket: SessionSocket) => socket.data.drained(),
      close: (socket: SessionSocket) => socket.data.closed(),
      error: (socket: SessionSocket) => socket.terminate(),
    },
  } as unknown as Bun.UnixSocketOptions<ProgramSession>);
}

/** From the first moment: a server that is gone takes with it what it was still starting. */
async function watchLifeline(): Promise<Bun.Socket> {
  const socket = await Bun.connect({
    fd: lifeline,
    socket: { data: () => {}, end: onLifelineEnd, close: onLifelineEnd, error: onLifelineEnd },
  } as unknown as Bun.TCPSocketConnectOptions);
  if (program === undefined) socket.unref();
  return socket;
}

async function begin(started: Program): Promise<void> {
  // The program's call of Bun.serve returns first, as it would with a real server.
  await Promise.resolve();
  serveSessions(started);
  const socket = await watched;
  socket.ref();
  writeBy((message) => socket.write(message) !== 0);
  tellReady(concurrency);
  process.off("uncaughtException", onFailure);
  process.off("beforeExit", onNothingServed);
}

/**
 * Without an `env`, what Bun spawns gets what the process started with, and so do Web Workers:
 * deletions are lost.
 */
function passOnEnvironment(): void {
  const { spawn, spawnSync } = Bun;
  type Options = { env?: unknown } | undefined;
  const own = (options: Options) => ({ ...options, env: options?.env ?? process.env });
  const withEnvironment =
    (real: (...values: unknown[]) => unknown) =>
    (first: unknown, options?: Options): unknown =>
      Array.isArray(first) ? real(first, own(options)) : real(own(first as Options));
  Object.assign(Bun, {
    spawn: withEnvironment(spawn as (...values: unknown[]) => unknown),
    spawnSync: withEnvironment(spawnSync as (...values: unknown[]) => unknown),
  });
  globalThis.Worker = class Worker extends globalThis.Worker {
    constructor(script: string | URL, options?: WorkerOptions) {
      super(script, own(options) as WorkerOptions);
    }
  };
}

/** Bun announces the server of a default export, by a port on which nothing listens here. */
const announcement = /^Started (development )?server: http:\/\/localhost:\d+$/;

/** Drops Bun's announcement, which comes right after its call of Bun.serve. */
function hushAnnouncement(): void {
  const output: Pick<Console, "debug"> = console;
  const { debug } = output;
  output.debug = (...values: unknown[]) => {
    output.debug = debug;
    if (!announcement.test(String(values[0]).trim())) debug(...values);
  };
}

Bun.serve = ((options: ServeOptions) => {
  // Only the first is the application; a further one is a server of its own, on its own port.
  if (program !== undefined) return realServe(options);
  program = makeProgram(options, realServe, leave);
  hushAnnouncement();
  begin(program).catch(onFailure);
  return program.server;
}) as typeof Bun.serve;

startWatchdog();
beWorkerOfCluster();
watchResponses();
const watched = watchLifeline();
process.on("uncaughtException", onFailure);
process.on("beforeExit", onNothingServed);
process.on("SIGUSR1", leave);
