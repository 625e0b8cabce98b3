/**
 * Servers that a measurement has started: one or several processes and all that descend from them,
 * remembered by pid and start time, so that nobody else's process is ever ended in their place.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer, connect } from "node:net";

import { isStill, type ProcessFacts, pssKiB, withDescendants } from "./process-tree.ts";

/** One program of a server. */
export interface Command {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

const ACCEPT_LIMIT_MS = 20_000;
const END_LIMIT_MS = 10_000;
const LOOK_MS = 2;

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone by itself.
  }
}

async function until(what: string, limitMs: number, holds: () => boolean | Promise<boolean>) {
  for (const end = performance.now() + limitMs; !(await holds()); await Bun.sleep(LOOK_MS)) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms until ${what}`);
  }
}

/** A port of this machine's that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const end = (answer: boolean) => (): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", end(true));
    socket.once("error", end(false));
  });
}

/** All that run now, for the end of the measurement by a signal. */
const running = new Set<StartedServer>();

export class StartedServer implements AsyncDisposable {
  readonly url: string;
  readonly #children: Bun.Subprocess[];
  readonly #name: string;
  readonly #log: string;
  /** Every process that was ever seen to belong to it, by pid and start time. */
  readonly #seen = new Map<string, ProcessFacts>();

  private constructor(name: string, port: number, log: string, children: Bun.Subprocess[]) {
    this.#name = name;
    this.url = `http://127.0.0.1:${port}`;
    this.#log = log;
    this.#children = children;
  }

  /** Starts the commands, and waits until the port accepts. `log` gets what they write. */
  static async start(
    name: string,
    commands: readonly Command[],
    port: number,
    log: string,
  ): Promise<StartedServer> {
    const output = openSync(log, "a");
    const children = commands.map(({ argv, cwd, env }) =>
      Bun.spawn([...argv], { cwd, env: { ...env }, stdio: ["ignore", output, output] }),
    );
    closeSync(output);
    const server = new StartedServer(name, port, log, children);
    running.add(server);
    try {
      await until(`${name} accepts on port ${port}`, ACCEPT_LIMIT_MS, async () => {
        if (children.some(({ exitCode }) => exitCode !== null)) throw new Error(`${name} ended`);
        return await accepts(port);
      });
    } catch (cause) {
      await server.stop();
      throw new Error(`start ${name}; it wrote:\n${server.#lastWords()}`, { cause });
    }
    return server;
  }

  /** Ends all that run, for a program that is being ended itself. */
  static async stopAll(): Promise<void> {
    await Promise.all([...running].map((server) => server.stop()));
  }

  /** The processes that its commands are, in their order. */
  get pids(): number[] {
    return this.#children.map(({ pid }) => pid);
  }

  /** Proportional memory of all its processes, in KiB. */
  pssKiB(): number {
    return pssKiB(this.#look());
  }

  /**
   * SIGTERM to what was started, and SIGKILL to whatever of it is left after the limit. @returns
   * that, if there is any.
   */
  async stop(limitMs = END_LIMIT_MS): Promise<ProcessFacts[]> {
    if (!running.delete(this)) return [];
    let left: ProcessFacts[] = [];
    this.#look();
    for (const child of this.#children) child.kill("SIGTERM");
    try {
      await until(`${this.#name} has ended`, limitMs, () => {
        this.#look();
        return ![...this.#seen.values()].some(isStill);
      });
    } catch {
      left = [...this.#seen.values()].filter(isStill);
      for (const { pid } of left) signal(pid, "SIGKILL");
    }
    await Promise.all(this.#children.map(({ exited }) => exited));
    return left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #look(): ProcessFacts[] {
    // Those whose parent has gone are children of another by now: they are looked for by name.
    const known = [...this.#seen.values()].filter(isStill);
    const started = this.#children.filter(
      ({ exitCode, signalCode }) => (exitCode ?? signalCode) === null,
    );
    const found = withDescendants([...started, ...known].map(({ pid }) => pid));
    for (const facts of found) this.#seen.set(`${facts.pid} ${facts.startTime}`, facts);
    return found;
  }

  #lastWords(): string {
    return readFileSync(this.#log, "utf8").split("\n").slice(-20).join("\n");
  }
}
