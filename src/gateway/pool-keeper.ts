/**
 * Keeps one pool server running for all workers. The supervisor holds a duplicate of the server's
 * end of the wake socket: when a server dies, the next one is started on the same description, and
 * wake bytes that workers have written meanwhile are served by it. That a duplicate is held here
 * does not keep a server alive: it ends when the last holder of the *other* end is gone.
 */
import type { Subprocess } from "bun";

import { duplicate } from "../native/fd.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { socketPair } from "../native/socket.ts";
import { attachPoolServer, type Inspection, type PoolConnection } from "../parent/index.ts";
import { serverExecutable } from "../parent/pool-server.ts";
import type { PoolConfig } from "./config.ts";
import type { Report } from "./report.ts";
import { RestartPause } from "./restart-pause.ts";
import { endOf } from "./worker-process.ts";

/** How long a server may take to end in order: its own waits are 5 and 5 seconds. */
const orderlyEndMs = 15_000;
/** And how long once it has been told not to wait. */
const killDelayMs = 2_000;
/** How long a connection to it may take. */
const connectLimitMs = 2_000;

export interface PoolKeeperOptions {
  /** The command line of the server, for each start: the six arguments and options. */
  commandLine(): readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: Report;
}

export class PoolKeeper {
  readonly #options: PoolKeeperOptions;
  readonly #parentsEnd: OwnedFd;
  readonly #serversEnd: OwnedFd;
  readonly #pause = new RestartPause();
  #process: Subprocess | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closing = false;

  /** Starts the first server. @throws Error when it cannot be started. */
  constructor(options: PoolKeeperOptions) {
    this.#options = options;
    [this.#parentsEnd, this.#serversEnd] = socketPair();
    try {
      this.#start();
    } catch (error) {
      this.#parentsEnd.close();
      this.#serversEnd.close();
      throw error;
    }
  }

  /** The parents' end of the wake socket, for workers; it stays this object's. */
  get wakeFd(): number {
    return this.#parentsEnd.number;
  }

  /** The server's process; undefined between two of them. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /**
   * Tells the running server other limits; the next one is started with them. @throws the errors of
   * PoolAccess.connect.
   */
  async setLimits({ max, maxPerApp, maxIdleSeconds }: PoolConfig): Promise<void> {
    using connection = await this.#connect();
    connection.setMax(max);
    connection.setMaxPerApp(maxPerApp);
    connection.setMaxIdleTime(maxIdleSeconds);
    await connection.getCount(); // answered in order: by then the others have been carried out
  }

  /** The pool at this moment. @throws the errors of PoolAccess.connect. */
  async inspect(): Promise<Inspection> {
    using connection = await this.#connect();
    return await connection.inspect();
  }

  async #connect(): Promise<PoolConnection> {
    await using access = attachPoolServer(duplicate(this.wakeFd).take());
    return await access.connect({ limitMs: connectLimitMs });
  }

  /** Lets the server end, once all workers are gone, and waits for it; with force if need be. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    this.#parentsEnd.close();
    const server = this.#process;
    if (server !== undefined) {
      server.kill("SIGTERM");
      const timer = setTimeout(() => this.hurry(), orderlyEndMs);
      await server.exited;
      clearTimeout(timer);
    }
    this.#serversEnd.close();
  }

  /** Ends the server without its waits: a second SIGTERM skips them, and `close` sends one too. */
  hurry(): void {
    const server = this.#process;
    server?.kill("SIGTERM");
    setTimeout(() => server?.kill("SIGKILL"), killDelayMs).unref();
  }

  #start(): void {
    const startedMs = performance.now();
    const server = Bun.spawn([serverExecutable(), ...this.#options.commandLine()], {
      stdio: ["ignore", "inherit", "inherit", this.#serversEnd.number],
      env: this.#options.env,
      // A session of its own: Ctrl-C on a terminal is for the supervisor, which drains first.
      detached: true,
    });
    this.#process = server;
    this.#options.report(1, "pool server started", { pid: server.pid });
    void server.exited.then(() => this.#ended(server, performance.now() - startedMs));
  }

  #ended(server: Subprocess, livedMs: number): void {
    this.#process = undefined;
    if (this.#closing) return;
    const pauseMs = this.#pause.after(livedMs);
    this.#options.report(0, "pool server died", { pid: server.pid, end: endOf(server), pauseMs });
    if (pauseMs === 0) this.#startAgain();
    else this.#timer = setTimeout(() => this.#startAgain(), pauseMs);
  }

  #startAgain(): void {
    const triedMs = performance.now();
    try {
      this.#start();
    } catch (error) {
      const pauseMs = Math.max(1, this.#pause.after(performance.now() - triedMs));
      this.#options.report(0, "pool server not started", { cause: String(error), pauseMs });
      this.#timer = setTimeout(() => this.#startAgain(), pauseMs);
    }
  }
}
