/**
 * The server under test, two ways: the PoolServer of the sources in this process, and the compiled
 * binary as parents start it. Both with a real spawn server (the scriptable one), and both checked
 * afterwards: descriptors, children, zombies, files and log lines are where they were, and nothing
 * the server started is left.
 */
import { test } from "bun:test";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { socketPair } from "../../src/native/socket.ts";
import { until, within } from "./condition.ts";
import { openDescriptors } from "./descriptors.ts";
import { startBinary } from "./binary-server.ts";
import { startInProcess } from "./in-process-server.ts";
import { ParentEnd } from "./parent-end.ts";
import {
  childrenOf,
  killIfThere,
  looksAtFiles,
  markedProcesses,
  type ProcessFacts,
} from "./processes.ts";
import type { RawClient } from "./raw-client.ts";

export const serverKinds = ["in-process", "binary"] as const;
export type ServerKind = (typeof serverKinds)[number];

/** How a server is started; what is absent is as in production. */
export interface ServerSetup {
  readonly logLevel?: number;
  readonly logFormat?: "text" | "json";
  readonly max?: number;
  readonly maxPerApp?: number;
  readonly maxIdleSeconds?: number;
  readonly maxWaitSeconds?: number;
  readonly maxQueue?: number;
  readonly spawnTimeoutSeconds?: number;
  /** A FIFO for the report is made and given to the server. */
  readonly statusFifo?: boolean;
  /** Variables for the server and all it starts. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Only for the binary, whose working directory the files' directory is. */
  readonly binary?: BinarySetup;
}

export interface BinarySetup {
  /** Called before the start. */
  readonly prepare?: (files: ServerFiles) => void;
  /** The command that runs the server's command line, for example `prlimit`. */
  readonly wrapper?: readonly string[];
  readonly user?: string;
  readonly shareAfterSeconds?: number;
  /** Empty: the spawn server writes to the server's own stderr. */
  readonly logFile?: "";
  /** The built-in spawner in place of the scriptable spawn server. */
  readonly builtin?: boolean;
  /** A shell script in place of the scriptable spawn server; it has to write `started`. */
  readonly shellSpawnServer?: string;
}

/** Where one server's files are. */
export interface ServerFiles {
  readonly directory: string;
  /** The server's own log: what it writes to stderr. */
  readonly log: string;
  /** LOG_FILE: output of the spawn server. */
  readonly output: string;
  readonly fifo: string;
}

/** A running server, however it runs. */
export interface RunningServer {
  readonly pid: number;
  readonly inProcess: boolean;
  /** Resolves with the exit status (0 in this process) when it has ended. */
  readonly ended: Promise<number | string>;
  /** Asks it to end as SIGTERM does. */
  terminate(): void;
  /** The last resort, when a test has failed. */
  kill(): void;
}

let count = 0;

export class ServerUnderTest {
  readonly files: ServerFiles;
  readonly mark: string;
  readonly parent: ParentEnd;
  readonly #running: RunningServer;
  #baseline = new Map<string, number>();

  private constructor(files: ServerFiles, mark: string, parent: OwnedFd, running: RunningServer) {
    this.files = files;
    this.mark = mark;
    this.parent = new ParentEnd(parent);
    this.#running = running;
  }

  static async start(kind: ServerKind, setup: ServerSetup): Promise<ServerUnderTest> {
    const server = await ServerUnderTest.startEarly(kind, setup);
    await server.#settle();
    return server;
  }

  /** The same, without waiting until it is there. */
  static async startEarly(kind: ServerKind, setup: ServerSetup): Promise<ServerUnderTest> {
    count += 1;
    const mark = `${process.pid}-${count}`;
    const directory = mkdtempSync(join(tmpdir(), "pool-"));
    mkdirSync(join(directory, "apps"));
    const files = {
      directory,
      log: join(directory, "server.log"),
      output: join(directory, "output.log"),
      fifo: join(directory, "status.fifo"),
    };
    if (setup.statusFifo === true) Bun.spawnSync(["mkfifo", files.fifo]);
    const [ours, theirs] = socketPair();
    const start = kind === "in-process" ? startInProcess : startBinary;
    const running = await start(theirs, files, mark, setup);
    return new ServerUnderTest(files, mark, ours, running);
  }

  get pid(): number {
    return this.#running.pid;
  }

  get inProcess(): boolean {
    return this.#running.inProcess;
  }

  get ended(): Promise<number | string> {
    return this.#running.ended;
  }

  /**
   * The root of an application; what the spawn server does with it is said by the name up to its
   * first `-`.
   */
  app(name: string): string {
    return join(this.files.directory, "apps", name);
  }

  connect(): Promise<RawClient> {
    return this.parent.connect();
  }

  terminate(): void {
    this.#running.terminate();
  }

  /** The server's own log so far. */
  log(): string {
    return readIfThere(this.files.log);
  }

  /** What spawn servers have written so far. */
  output(): string {
    return readIfThere(this.files.output);
  }

  /** What the spawn server was asked, one command a line, its elements joined by `|`. */
  commands(): string[] {
    return this.output()
      .split("\n")
      .filter((line) => /^(spawn_application|reload)\|/.test(line));
  }

  /** The spawn server's process id. */
  async spawnServerPid(): Promise<number> {
    const client = await this.connect();
    try {
      return await until("there is a spawn server", async () => {
        return (await client.number("getSpawnServerPid")) || undefined;
      });
    } finally {
      client.close();
    }
  }

  /**
   * Descriptors of the server by what they are: numbers and inodes differ from time to time, kinds
   * do not.
   */
  descriptorKinds(): Map<string, number> {
    const kinds = new Map<string, number>();
    const who = this.inProcess ? "self" : this.pid;
    for (const what of openDescriptors(who).values()) {
      const kind = what.replace(/:\[\d+\]$/, "");
      if (/\[(eventpoll|eventfd|timerfd)\]|random$/.test(kind)) continue;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    return kinds;
  }

  /**
   * A first client and a first spawn server, so that everything lazy is there; then the baseline.
   */
  async #settle(): Promise<void> {
    // The built-in spawner answers with the server's own process id, and has nothing to start.
    const hasSpawnServer = (await this.spawnServerPid()) !== this.pid;
    await until("the spawn server has started", () => {
      return !hasSpawnServer || /^started/m.test(this.output() + this.log());
    });
    this.#baseline = this.descriptorKinds();
  }

  /** The universal check, then the end, then the check that nothing is left. */
  async finish(): Promise<void> {
    this.parent.closeClients();
    await this.checkQuiet();
    this.parent.close();
    await this.checkEnded();
  }

  /** With no client left and the pool cleared, the server holds what it held at first. */
  async checkQuiet(): Promise<void> {
    const client = await this.connect();
    await client.send("clear");
    await until("the pool is empty", async () => (await client.number("getCount")) === 0);
    client.close();
    const excess = (): string[] =>
      [...this.descriptorKinds()].flatMap(([kind, now]) => {
        const before = (this.#baseline.get(kind) ?? 0) + this.#ofHelpers(kind);
        return now > before ? [`${kind}: ${now} instead of ${before}`] : [];
      });
    await until("its descriptors are as at first", () => excess().length === 0, excess);
    const strangers = (): ProcessFacts[] => this.#children().filter(({ state }) => state === "Z");
    await until("no child is a zombie", () => strangers().length === 0, strangers);
  }

  /** Descriptors of that kind to processes that look at applications' files. */
  #ofHelpers(kind: string): number {
    const each = { socket: 2, "anon_inode:[pidfd]": 1 }[kind];
    if (each === undefined) return 0;
    return each * this.#children().filter(looksAtFiles).length;
  }

  /** The server ends with status 0; nothing it started or made is left. */
  async checkEnded(): Promise<void> {
    const status = await within("the server's end", this.ended, 15_000);
    if (status !== 0) throw new Error(`the server ended with ${status}; log:\n${this.log()}`);
    await this.checkGone();
    const mistakes = this.log().match(/^\S+ error .*$/gm);
    if (mistakes !== null) throw new Error(`its log has errors:\n${mistakes.join("\n")}`);
    this.remove();
  }

  /** No process that the server started is left, and no socket, FIFO or directory it made. */
  async checkGone(): Promise<void> {
    await this.#untilAllGone();
    const special = filesBelow(Buffer.from(this.files.directory)).filter((path) => {
      const facts = lstatSync(path);
      return facts.isSocket() || facts.isFIFO();
    });
    const own = readdirSync(this.files.directory).filter((name) => name.startsWith("application-"));
    const left = [...special.map(String), ...own];
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
  }

  async #untilAllGone(): Promise<void> {
    const alive = (): ProcessFacts[] => markedProcesses(this.mark);
    await until("every process it started is gone", () => alive().length === 0, alive);
  }

  /** Killed outright, the server takes every process with it that it has started. */
  async checkKilled(): Promise<void> {
    process.kill(this.pid, "SIGKILL");
    await within("its end", this.ended);
    this.parent.closeClients();
    this.parent.close();
    await this.#untilAllGone();
    this.remove();
  }

  /** After a failure: everything is ended at once, so that the next test starts clean. */
  async abandon(): Promise<void> {
    this.parent.closeClients();
    this.parent.close();
    this.#running.kill();
    for (const { pid } of markedProcesses(this.mark)) killIfThere(pid);
    await Promise.race([this.ended, Bun.sleep(5000)]);
    this.remove();
  }

  remove(): void {
    rmSync(this.files.directory, { recursive: true, force: true });
  }

  #children(): ProcessFacts[] {
    return childrenOf(this.pid);
  }
}

/** Everything in a directory and below; names are bytes. */
function filesBelow(directory: Buffer): Buffer[] {
  return readdirSync(directory, { encoding: "buffer" }).flatMap((name) => {
    const path = Buffer.concat([directory, Buffer.from("/"), name]);
    return lstatSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** Above the patience of every condition, so that what was waited for is what is reported. */
const testLimitMs = 60_000;

export type ServerTest = (server: ServerUnderTest) => Promise<void>;

/** Runs `body` with a server of this kind, and the universal check after it. */
export async function withServer(
  kind: ServerKind,
  setup: ServerSetup,
  body: ServerTest,
): Promise<void> {
  const server = await ServerUnderTest.start(kind, setup);
  try {
    await body(server);
    await server.finish();
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- log of the server\n${server.log()}`;
    await server.abandon();
    throw error;
  }
}

/** The same for a test in which the server ends; what is left behind is checked all the same. */
export async function withEndingServer(
  kind: ServerKind,
  setup: ServerSetup,
  body: ServerTest,
): Promise<void> {
  const server = await ServerUnderTest.start(kind, setup);
  try {
    await body(server);
    server.parent.closeClients();
    server.parent.close();
    await server.checkEnded();
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- log of the server\n${server.log()}`;
    await server.abandon();
    throw error;
  }
}

/**
 * Declares tests that each get a server of their own: `claim(name, body)` or `claim(name, setup,
 * body)`.
 */
export function serverTests(kind: ServerKind) {
  return (name: string, ...rest: [ServerTest] | [ServerSetup, ServerTest]): void => {
    const [setup, body] = rest.length === 1 ? [{}, rest[0]] : rest;
    test(name, () => withServer(kind, setup, body), testLimitMs);
  };
}
