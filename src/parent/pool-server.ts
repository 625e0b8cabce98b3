/**
 * Starting the pool server as its parent, and reaching one that somebody else has started. The
 * parent holds the other end of the server's descriptor 3 (the wake socket); when the last process
 * that holds it is gone, the server ends by itself: a parent that dies takes its server along.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Subprocess } from "bun";
import { inTime } from "../native/in-time.ts";
import { OwnedFd } from "../native/owned-fd.ts";
import { ownProgram } from "../native/process.ts";
import { socketPair } from "../native/socket.ts";
import { causeText } from "../wire/cause.ts";
import { PoolConnection } from "./connection.ts";
import { GoneForGoodError, PoolError, ServerGoneError } from "./errors.ts";
import { WakeSocket } from "./wake-socket.ts";

/** How a server is started; all of it may be left out. */
export interface PoolServerOptions {
  /** The server binary. Default `serverExecutable()`. */
  readonly executable?: string;
  /** 0 (default) to 4: higher logs more. */
  readonly logLevel?: number;
  /** The spawn server's script; `builtin` (default) selects the server's own spawner. */
  readonly spawnServer?: string;
  /** Where the output of applications and spawn server goes; default: the server's stderr. */
  readonly logFile?: string;
  /** The Ruby interpreter, looked up on PATH. */
  readonly ruby?: string;
  /** The user a spawn server runs as, when the server is root. */
  readonly user?: string;
  /** An existing FIFO from which the status report can be read. */
  readonly statusFifo?: string;
  /** Further command line options, as the server's own help lists them. */
  readonly extraOptions?: readonly string[];
  /** The server's environment; default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The server's stdin, stdout and stderr; default `inherit`. */
  readonly stdio?: readonly [StandardStream, StandardStream, StandardStream];
}

type StandardStream = "inherit" | "ignore" | number;

export interface ConnectOptions {
  /** How long to wait for the server's answer, in milliseconds; default 10,000. */
  readonly limitMs?: number;
}

export interface CloseOptions {
  /**
   * How long the server may take to end by itself, in milliseconds, before SIGTERM; default 15,000,
   * enough for the polite waits of the protocol.
   */
  readonly graceMs?: number;
  /** How long it may take after SIGTERM, in milliseconds, before SIGKILL; default 12,000. */
  readonly afterTermMs?: number;
}

const defaultConnectLimitMs = 10_000;
const defaultGraceMs = 15_000;
/** The waits of a shutdown once more, and a little: SIGKILL would cut them short. */
const defaultAfterTermMs = 12_000;

/**
 * Where the server binary is: this very program when it is a compiled one that contains this
 * library (the server itself; any other compiled parent has to name `executable`), else in `dist`.
 */
export function serverExecutable(): string {
  if (Bun.main.startsWith("/$bunfs/")) return process.execPath;
  return fileURLToPath(new URL("../../dist/ApplicationPoolServerExecutable", import.meta.url));
}

/** The server binary for Bun.spawn, also if it is this program and its name means another now. */
export function serverProgram(): { file: string; argv0: string } {
  const argv0 = serverExecutable();
  return { file: argv0 === process.execPath ? ownProgram : argv0, argv0 };
}

/**
 * Starts a server. It does not keep this process alive; open connections do.
 * @throws PoolError when the binary cannot be executed. A server that refuses its options says so
 * on its stderr and by its exit status; `connect` then rejects with that.
 */
export function startPoolServer(options: PoolServerOptions = {}): PoolServer {
  const { file, argv0: executable } =
    options.executable === undefined
      ? serverProgram()
      : { file: options.executable, argv0: options.executable };
  if (!existsSync(file)) {
    throw new PoolError(`start pool server '${executable}': there is no such file; is it built?`);
  }
  const [ours, theirs] = socketPair();
  try {
    return new PoolServer(spawnServer(file, executable, options, theirs.number), ours);
  } catch (cause) {
    ours.close();
    const why = causeText(cause);
    throw new PoolError(`start pool server '${executable}': ${why}`, { cause });
  } finally {
    theirs.close();
  }
}

/**
 * Access to a server that another process has started, through an inherited wake socket: for
 * workers. Takes the descriptor over. @throws PoolError: it is no connected Unix stream socket.
 */
export function attachPoolServer(wakeFd: number): PoolAccess {
  return new PoolAccess(new OwnedFd(wakeFd));
}

/** Something connections to a pool server can be had from. */
export class PoolAccess implements AsyncDisposable {
  readonly #wake: WakeSocket;

  /** For attachPoolServer. */
  constructor(wake: OwnedFd) {
    this.#wake = new WakeSocket(wake);
  }

  /** The wake socket's number, for a worker process's `stdio`; it stays this object's. */
  get wakeFd(): number {
    return this.#wake.number;
  }

  /** A new connection. @throws ServerGoneError, PoolIOError, PoolError (as rejections). */
  async connect(options: ConnectOptions = {}): Promise<PoolConnection> {
    const limitMs = options.limitMs ?? defaultConnectLimitMs;
    return PoolConnection.open(await this.#wake.connect(limitMs));
  }

  /** Gives this process's share of the server up. Open connections go on. */
  close(_options?: CloseOptions): Promise<void> {
    this.#wake.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A server of ours. */
export class PoolServer extends PoolAccess {
  readonly #process: Subprocess;

  /** For startPoolServer. */
  constructor(process: Subprocess, wake: OwnedFd) {
    super(wake);
    this.#process = process;
    process.unref();
  }

  /** The server's process. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves with the exit status (128 + the signal's number if one ended it) at its end. */
  get exited(): Promise<number> {
    return this.#process.exited;
  }

  override async connect(options: ConnectOptions = {}): Promise<PoolConnection> {
    try {
      return await super.connect(options);
    } catch (error) {
      if (!(error instanceof ServerGoneError)) throw error;
      // Its socket is closed, so its end is near; the status says more than the closed socket.
      const status = await inTime(this.exited, 1000, () => undefined);
      if (status === undefined) throw error;
      const text = `connect to the pool server: it has ended with status ${status}`;
      throw new GoneForGoodError(text, { cause: error });
    }
  }

  /** Sends the server a signal: `SIGTERM` and `SIGINT` end it. */
  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Closes the wake socket and waits until the server has ended, with force if need be. */
  override async close(options: CloseOptions = {}): Promise<void> {
    await super.close();
    this.#process.ref();
    if (await this.#endsWithin(options.graceMs ?? defaultGraceMs)) return;
    this.#process.kill("SIGTERM");
    if (await this.#endsWithin(options.afterTermMs ?? defaultAfterTermMs)) return;
    this.#process.kill("SIGKILL");
    await this.exited;
  }

  #endsWithin(limitMs: number): Promise<boolean> {
    const ended = this.exited.then(() => true);
    return inTime(ended, limitMs, () => false);
  }
}

/** When `close` resolves nothing is to be left, so the server ends after its last instance. */
function optionsFor(options: PoolServerOptions): readonly string[] {
  const { extraOptions = [] } = options;
  const hasInstances = ["", "builtin"].includes(options.spawnServer ?? "builtin");
  const isSaid = extraOptions.some((option) => /^--exit(=|$)/.test(option));
  return hasInstances && !isSaid ? ["--exit=last", ...extraOptions] : extraOptions;
}

function spawnServer(
  file: string,
  argv0: string,
  options: PoolServerOptions,
  wakeFd: number,
): Subprocess {
  const positional = [
    String(options.logLevel ?? 0),
    options.spawnServer ?? "builtin",
    options.logFile ?? "",
    options.ruby ?? "",
    options.user ?? "",
    options.statusFifo ?? "",
  ];
  const [stdin, stdout, stderr] = options.stdio ?? ["inherit", "inherit", "inherit"];
  return Bun.spawn([file, ...positional, ...optionsFor(options)], {
    argv0,
    stdio: [stdin, stdout, stderr, wakeFd],
    // With BUN_BE_BUN the binary would be a JavaScript runtime and no server.
    env: { ...(options.env ?? process.env), BUN_BE_BUN: undefined },
  });
}
