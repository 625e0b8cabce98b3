/**
 * `serve` as users run it: the compiled binary, its lines on stdout, its log on stderr, and
 * afterwards the check that no process is left.
 */
import { afterAll, afterEach, beforeAll } from "bun:test";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { runtimeVariable } from "../../src/gateway/supervisor/runtime-directory.ts";
import type { GatewayStatus } from "../../src/wire/gateway-status.ts";
import type { Inspection } from "../../src/wire/inspection.ts";
import { binaryPath, plainEnvironment } from "./binary-server.ts";
import { until, within } from "./condition.ts";
import { killIfThere, markedProcesses, markVariable, type ProcessFacts } from "./processes.ts";
import { type Outcome, runBinary } from "./run-binary.ts";

export interface GatewayOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** The program's file; default: the binary that was built. */
  readonly program?: string;
  /** What is put in front of the command. */
  readonly wrapper?: readonly string[];
  /** What it finds on descriptors from 3 on. */
  readonly descriptors?: readonly number[];
}

/** It gives its own processes 30 s each to come up; less, so that a test's time has room for it. */
const startMs = 25_000;

export class Gateway {
  readonly #process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #mark: string;
  /** Resolves when both its outputs are read to their ends. */
  readonly #isRead: Promise<unknown>;
  /** Lines on stdout so far. */
  readonly lines: string[] = [];
  /** stderr so far. */
  log = "";

  constructor(args: readonly string[], options: GatewayOptions = {}) {
    this.#mark = randomUUID();
    const { wrapper = [], program = binaryPath } = options;
    this.#process = Bun.spawn([...wrapper, program, "serve", ...args], {
      env: { ...gatewayEnvironment(), ...options.environment, [markVariable]: this.#mark },
      stdio: ["ignore", "pipe", "pipe", ...(options.descriptors ?? [])],
    });
    started.push(this);
    this.#isRead = Promise.all([this.#readLines(), this.#readLog()]);
  }

  /** Resolves with the first address it says it listens on. @throws Error when it ends instead. */
  async address(): Promise<string> {
    return until(
      "the gateway listens",
      () => {
        if (this.#process.exitCode === null) return this.addresses[0];
        throw new Error(`the gateway ended with ${this.#process.exitCode}: ${this.log}`);
      },
      () => ({ lines: this.lines, log: this.log, processes: this.processes }),
      startMs,
    );
  }

  get addresses(): string[] {
    return this.lines.flatMap((line) => /^listening on (.*)$/.exec(line)?.[1] ?? []);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Its exit status, or the signal that ended it. */
  get ended(): Promise<number | string> {
    return within(
      "the gateway's end",
      this.#process.exited.then((status) => this.#process.signalCode ?? status),
    );
  }

  /** Everything it has started that still runs, without itself. */
  get processes(): ProcessFacts[] {
    return markedProcesses(this.#mark).filter(({ pid }) => pid !== this.pid);
  }

  get workers(): ProcessFacts[] {
    return this.processes.filter(({ command }) => command.endsWith(" gateway-worker"));
  }

  get poolServer(): ProcessFacts | undefined {
    return this.processes.find(({ command }) => / \d builtin /.test(command));
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Waits until the log holds all of these. What it says of an answer may come after that. */
  async logged(...texts: readonly string[]): Promise<void> {
    await until(
      `it is logged: ${texts.join(", ")}`,
      () => texts.every((text) => this.log.includes(text)),
      () => this.log,
    );
  }

  /**
   * Ends it, however it fares; then its log is whole. @throws Error when something it has started
   * outlives it.
   */
  async end(): Promise<void> {
    this.#process.kill("SIGTERM");
    await this.ended;
    await until(
      "nothing is left of the gateway",
      () => this.processes.length === 0,
      () => this.processes,
    );
    await within("the ends of its outputs", this.#isRead);
  }

  /** Makes sure that nothing is left, by force. */
  destroy(): void {
    this.#process.kill("SIGKILL");
    for (const { pid } of this.processes) killIfThere(pid);
  }

  async #readLines(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#process.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines);
    }
  }

  async #readLog(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#process.stderr) {
      this.log += decoder.decode(chunk, { stream: true });
    }
  }
}

const started: Gateway[] = [];
let runtimeDirectory = "";

/** The environment of gateways, and of whoever asks for their status. */
export function gatewayEnvironment(): Readonly<Record<string, string>> {
  return { ...plainEnvironment, [runtimeVariable]: runtimeDirectory };
}

/** To be called once at the top of a test file: ends after each test what it has started. */
export function gateways(): (args: readonly string[], options?: GatewayOptions) => Gateway {
  beforeAll(() => {
    runtimeDirectory = mkdtempSync(join(tmpdir(), "pool-run-"));
  });
  afterAll(() => rmSync(runtimeDirectory, { recursive: true, force: true }));
  afterEach(() => {
    for (const gateway of started.splice(0)) gateway.destroy();
  });
  return (args, options) => new Gateway(args, options);
}

/** Runs a command to its end, which finds the gateways of this file. */
export function runCommand(...args: readonly string[]): Promise<Outcome> {
  return runBinary(args, { environment: gatewayEnvironment() });
}

/** What `status` says of it. */
export async function statusOf(gateway: Gateway): Promise<GatewayStatus> {
  const command = [binaryPath, "status", "--json", "--pid", String(gateway.pid)];
  await using child = Bun.spawn(command, {
    env: gatewayEnvironment(),
    stdio: ["ignore", "pipe", "ignore"],
  });
  return (await child.stdout.json()) as GatewayStatus;
}

/** What it says of its pool, once the pool server answers: on a busy machine it may be late. */
export async function poolOf(gateway: Gateway): Promise<Inspection> {
  return until("the pool server answers", async () => (await statusOf(gateway)).pool ?? undefined);
}

/**
 * Asks for `/slow` of an application of writeApplication(). @param directory where it may write.
 * @returns when the request is under way, which it is until it is let go.
 */
export async function holdRequest(gateway: Gateway, directory: string) {
  const file = join(directory, "go");
  const answer = fetch(`${await gateway.address()}/slow?until=${file}`);
  await gateway.logged("slow request begins");
  return {
    get isAnswered(): boolean {
      return Bun.peek.status(answer) !== "pending";
    },
    letGo(): Promise<Response> {
      writeFileSync(file, "");
      return answer;
    },
  };
}

/**
 * A Bun application of its own: answers with its path and process; `/slow?until=FILE` waits for a
 * file, `/slow?ms=N` takes its time, and both say on its standard output when they begin.
 */
export function writeApplication(directory: string, name = "app"): string {
  const root = join(directory, name);
  mkdirSync(root, { recursive: true, mode: 0o755 });
  writeFileSync(
    join(root, "server.ts"),
    `import { existsSync } from "node:fs";
export default {
  async fetch(request: Request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname.endsWith("/slow")) {
      console.log("slow request begins");
      const file = searchParams.get("until");
      while (file !== null && !existsSync(file)) await Bun.sleep(5);
      await Bun.sleep(Number(searchParams.get("ms")));
    }
    return new Response(\`${name} \${pathname} \${process.pid}\\n\`);
  },
};
`,
  );
  return root;
}
