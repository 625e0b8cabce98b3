/**
 * Keeps one pool server running for all workers. The supervisor holds a duplicate of the server's
 * end of the wake socket: when a server dies, the next one is started on the same description, and
 * wake bytes that workers have written meanwhile are served by it. That a duplicate is held here
 * does not keep a server alive: it ends when the last holder of the *other* end is gone.
 *
 * Each server is told over a channel of its own what it may serve, and takes no client before that;
 * what changes later is told to the one that runs, and to every later one from its start.
 */
import type { Subprocess } from "bun";

import { inTime } from "../../native/in-time.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { socketPair } from "../../native/socket.ts";
import type { CommandStream } from "../../parent/command-stream.ts";
import { ConfigureError, type Inspection } from "../../parent/index.ts";
import * as refusals from "../../parent/refusals.ts";
import { fromText } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import type { Command } from "../../wire/commands.ts";
import type { AppConfig, PoolConfig } from "../config.ts";
import type { Heartbeat } from "./heartbeat.ts";
import {
  endOf,
  killDelayMs,
  type Report,
  RestartPause,
  startOwn,
  watchOwn,
  withChannel,
} from "./own-process.ts";
import {
  poolChannel,
  type RecentOutput,
  register,
  registrationsOf,
  setLimits,
} from "./pool-channel.ts";

/** What a pool server is to serve. */
export interface PoolDuty {
  readonly apps: readonly AppConfig[];
  /** Those of earlier configurations: their processes go, but workers that leave may ask still. */
  readonly leaving?: readonly AppConfig[];
  readonly pool: PoolConfig;
  /** How long a server may be silent; of one that runs, as it was when it started. */
  readonly silenceMs: number;
}

/** How long a server may take to end in order: its own waits are 5 and 5 seconds. */
export const orderlyEndMs = 15_000;
/** Where a server finds its channel (PROTOCOL section 12). */
const channelDescriptor = 4;
/** How long it may take to answer a question, or an order. */
const answerLimitMs = 2_000;
/** How long one may take from its start until it has been told all. */
const startLimitMs = 30_000;

interface PoolKeeperOptions {
  /** The command line of the server, for each start: the six arguments and options. */
  commandLine(): readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: Report;
  /** What it serves until `use` says otherwise. */
  readonly duty: PoolDuty;
}

/** One server, from its start to its end. */
interface RunningServer {
  readonly process: Subprocess;
  /** Resolves when it has been told all that it was to be told so far, or has refused it. */
  told: Promise<void>;
  channel: CommandStream | undefined;
  /** From when it takes clients. */
  heartbeat: Heartbeat | undefined;
  /** What it has been told: registrations by root ("" where it may have refused), and limits. */
  registered: ReadonlyMap<string, string>;
  /** Of them, those whose processes were let go. */
  retired: ReadonlySet<string>;
  pool: PoolConfig | undefined;
}

export class PoolKeeper {
  readonly #options: PoolKeeperOptions;
  readonly #parentsEnd: OwnedFd;
  readonly #serversEnd: OwnedFd;
  readonly #pause = new RestartPause();
  #duty: PoolDuty;
  #server: RunningServer | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  /** How many servers have taken the place of another. */
  restarts = 0;

  /** Starts the first server. @throws Error when it cannot be started. */
  constructor(options: PoolKeeperOptions) {
    this.#options = options;
    this.#duty = options.duty;
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

  /** Undefined between two of them. */
  get pid(): number | undefined {
    return this.#server?.process.pid;
  }

  /** How long it took to answer last; undefined: it has not yet. */
  get lagMs(): number | undefined {
    return this.#server?.heartbeat?.lagMs;
  }

  /** Whether there is a server that takes clients and answers. */
  get answers(): boolean {
    return this.#server?.heartbeat?.answers === true;
  }

  /** Resolves when the server takes clients. @throws Error when it does not come to that. */
  async admitted(): Promise<void> {
    const server = this.#server;
    await server?.told;
    if (server?.heartbeat === undefined) throw new Error("the pool server does not start");
  }

  /**
   * Serves something else from now on: what is new or changed is registered, what is gone is taken
   * out, with its processes. @returns when the server that runs has been told; one that ends before
   * leaves it to its successor. @throws ConfigureError when it is more than a server takes.
   */
  async use(duty: PoolDuty): Promise<void> {
    this.#duty = duty;
    const server = this.#server;
    if (server === undefined) return;
    const turn = server.told.then(() => this.#tell(server));
    server.told = turn.catch(() => {});
    await turn.catch((error: unknown) => {
      if (error instanceof ConfigureError) throw error;
    });
  }

  /** The pool at this moment. @throws Error when it cannot say. */
  inspect(): Promise<Inspection> {
    return this.#ask("inspect", (channel) => channel.askForJson({ kind: "inspect" }));
  }

  /** What an application has written last, after a line by its number. @throws Error. */
  recentOutput(root: string, after: number): Promise<RecentOutput> {
    const command = { kind: "recentOutput", root: fromText(root), after } as const;
    return this.#ask("read the output", (channel) => channel.askForJson(command));
  }

  /** Has the server carry something out. @throws Error when it is not, or there is no answer. */
  order(command: Command): Promise<void> {
    return this.#ask(command.kind, (channel) => channel.ask(command));
  }

  async #ask<T>(what: string, question: (channel: CommandStream) => Promise<T>): Promise<T> {
    const channel = this.#server?.channel;
    if (channel === undefined) throw new Error(`${what}: there is no pool server now`);
    return inTime(question(channel), answerLimitMs, () => {
      const later = "one that goes on so is replaced, try again then";
      throw new Error(`${what}: the pool server does not answer in ${answerLimitMs} ms: ${later}`);
    });
  }

  /** Lets the server end, once all workers are gone, and waits for it; with force if need be. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    this.#parentsEnd.close();
    const server = this.#server?.process;
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
    const server = this.#server?.process;
    server?.kill("SIGTERM");
    setTimeout(() => server?.kill("SIGKILL"), killDelayMs).unref();
  }

  #start(): void {
    const startedMs = performance.now();
    const command = [...this.#options.commandLine(), `--supervisor-channel=${channelDescriptor}`];
    const [process, ours] = withChannel((channel) =>
      startOwn(command, this.#options.env, [this.#serversEnd.number, channel]),
    );
    const server: RunningServer = {
      process,
      told: Promise.resolve(),
      channel: undefined,
      heartbeat: undefined,
      registered: new Map(),
      retired: new Set(),
      pool: undefined,
    };
    this.#server = server;
    this.#options.report(1, "pool server started", { pid: process.pid });
    server.told = this.#introduce(server, ours);
    void process.exited.then(() => this.#ended(server, performance.now() - startedMs));
  }

  /** Tells a new server what it may serve, then has it take clients; else it is ended. */
  async #introduce(server: RunningServer, fd: OwnedFd): Promise<void> {
    const { process } = server;
    const timer = setTimeout(() => process.kill("SIGKILL"), startLimitMs);
    try {
      const channel = poolChannel(() => server.heartbeat?.heard());
      await channel.attach(fd);
      // Not before: what is asked of it until then would not be sent, and get another's answer.
      server.channel = channel;
      await this.#tell(server);
      await channel.ask({ kind: "admit" });
      // Its end rejects the question, and is seen elsewhere.
      const ask = () => void channel.ask({ kind: "ping" }).catch(() => {});
      const { silenceMs } = this.#duty;
      server.heartbeat = watchOwn("pool server", process, silenceMs, this.#options.report, ask);
    } catch (error) {
      if (!this.#closing && process.exitCode === null) {
        const cause = causeText(error);
        this.#options.report(0, "pool server not ready", { pid: process.pid, cause });
      }
      process.kill("SIGKILL");
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tells a server how what it is to serve differs from what it has been told. */
  async #tell(server: RunningServer): Promise<void> {
    const { channel, registered, retired } = server;
    if (channel === undefined) return; // it has been given up
    const { apps, leaving = [], pool } = this.#duty;
    const stay = registrationsOf(apps);
    const wanted = new Map([...registrationsOf(leaving), ...stay]);
    const news = [...wanted].filter(([root, json]) => registered.get(root) !== json);
    server.registered = new Map([...registered, ...news.map(([root]) => [root, ""] as const)]);
    await register(channel, new Map(news));
    for (const root of registered.keys()) {
      const isKept = wanted.has(root) && (stay.has(root) || retired.has(root));
      const kind = wanted.has(root) ? "retire" : "unregister";
      // Each may be many processes: one after the other.
      if (!isKept) await channel.ask({ kind, root: fromText(root) });
    }
    server.registered = wanted;
    server.retired = new Set([...wanted.keys()].filter((root) => !stay.has(root)));
    if (!Bun.deepEquals(pool, server.pool)) await setLimits(channel, pool);
    server.pool = pool;
  }

  #ended(server: RunningServer, livedMs: number): void {
    server.heartbeat?.stop();
    server.channel?.end(refusals.closedHere);
    this.#server = undefined;
    if (this.#closing) return;
    const { pid } = server.process;
    const pauseMs = this.#pause.after(livedMs);
    const end = endOf(server.process);
    this.#options.report(0, "pool server died", { pid, end, pauseMs });
    if (pauseMs === 0) this.#startAgain();
    else this.#timer = setTimeout(() => this.#startAgain(), pauseMs);
  }

  #startAgain(): void {
    const triedMs = performance.now();
    try {
      this.#start();
      this.restarts += 1;
    } catch (error) {
      const pauseMs = Math.max(1, this.#pause.after(performance.now() - triedMs));
      this.#options.report(0, "pool server not started", { cause: causeText(error), pauseMs });
      this.#timer = setTimeout(() => this.#startAgain(), pauseMs);
    }
  }
}
