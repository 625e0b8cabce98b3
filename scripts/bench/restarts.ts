/**
 * What visitors notice of a rolling restart: a version that starts and one that does not, in turn
 * with as long a time without any, in one run under the same load. Every request is counted, every
 * answer compared, and what the command, the status and the log say of each restart.
 *
 *     bun scripts/bench.ts restarts [--only rack,wsgi,node,bun] [--connections 16] [--rounds 5]
 *                                   [--seconds 2] [--server PATH] [--write FILE]
 *
 * It fails, with status 1, when a request fails or when something else is said of a restart than
 * became of it. How long the longest request took is the machine's as well: it only says so.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { runtimeVariable } from "../../src/gateway/supervisor/runtime-directory.ts";
import type { GatewayStatus } from "../../src/wire/gateway-status.ts";
import { machineLine } from "./document.ts";
import { numberFlag, readFlags, wordsFlag } from "./flags.ts";
import { APPS, measured, say, usualFlags } from "./frame.ts";
import { APP_TYPES, type AppType, ENVIRONMENT, GREETING } from "./http-servers.ts";
import { markdownTable, show } from "./http-table.ts";
import { type Failure, load, Tally } from "./load-connection.ts";
import { median } from "./rows.ts";
import { freePort, StartedServer } from "./started-server.ts";

/** What a window has after its restart: what comes of it late is seen, too. */
const AFTER_MS = 300;
const WARM_MS = 1_500;

/** Where an application begins, and what makes it a version that does not start. */
const BEGINNING: Readonly<Record<AppType, { readonly file: string; readonly fault: string }>> = {
  rack: { file: "config.ru", fault: 'raise "this version is broken"\n' },
  wsgi: { file: "passenger_wsgi.py", fault: 'raise RuntimeError("this version is broken")\n' },
  node: { file: "app.js", fault: 'throw new Error("this version is broken");\n' },
  bun: { file: "server.ts", fault: 'throw new Error("this version is broken");\n' },
};

const KINDS = ["none", "good", "broken"] as const;
type Kind = (typeof KINDS)[number];

const readOptions = (args: string[]) =>
  readFlags(args, {
    ...usualFlags,
    only: wordsFlag(APP_TYPES),
    connections: numberFlag(16),
    rounds: numberFlag(5),
    seconds: numberFlag(2),
  });
type Options = ReturnType<typeof readOptions>;

/** Counts for the window at hand; a request belongs to that in which it ends. */
class Windows extends Tally {
  #window: Window = newWindow();

  override count(failure: Failure | undefined, tookMs: number): void {
    super.count(failure, tookMs);
    this.#window.requests += 1;
    this.#window.longestMs = Math.max(this.#window.longestMs, tookMs);
  }

  /** Begins a window. @returns the one before. */
  next(): Window {
    const before = this.#window;
    this.#window = newWindow();
    return before;
  }
}

interface Window {
  requests: number;
  longestMs: number;
}

function newWindow(): Window {
  return { requests: 0, longestMs: 0 };
}

interface Place {
  readonly executable: string;
  readonly directory: string;
  readonly port: number;
  /** The file with which the application begins, and what makes it a version that fails. */
  readonly beginning: string;
  readonly fault: string;
}

/** A gateway that serves one application. */
class Scene {
  readonly #server: StartedServer;
  readonly #place: Place;
  readonly #good: string;

  private constructor(server: StartedServer, place: Place) {
    this.#server = server;
    this.#place = place;
    this.#good = readFileSync(place.beginning, "utf8");
  }

  static async start(executable: string, type: AppType, directory: string): Promise<Scene> {
    const root = join(directory, "app");
    cpSync(join(APPS, type), root, { recursive: true });
    mkdirSync(join(root, "tmp"));
    const port = await freePort();
    const options = ["--listen", `127.0.0.1:${port}`, "--workers", "1", "--access-log", "off"];
    const pool = ["--type", type, "--max", "4", "--log-level", "1"];
    const argv = [executable, "serve", root, ...options, ...pool];
    const command = { argv, cwd: directory, env: environmentOf(directory) };
    const server = await StartedServer.start("serve", [command], port, join(directory, "log"));
    const { file, fault } = BEGINNING[type];
    return new Scene(server, { executable, directory, port, beginning: join(root, file), fault });
  }

  get port(): number {
    return this.#place.port;
  }

  /** Restarts into a version. @returns what is said of it that is not so. */
  async restart(kind: Exclude<Kind, "none">): Promise<string[]> {
    const before = await this.#state();
    const { beginning, fault } = this.#place;
    writeFileSync(beginning, kind === "good" ? this.#good : fault + this.#good);
    const logged = this.#log.length;
    const { status, said } = await this.#run("restart", "app");
    const after = await this.#state();
    return this.#whatIsWrong(kind, status, said, this.#log.slice(logged), before, after);
  }

  stop(): Promise<unknown> {
    return this.#server.stop();
  }

  #whatIsWrong(
    kind: "good" | "broken",
    status: number,
    said: string,
    log: string,
    before: PoolState,
    after: PoolState,
  ): string[] {
    const stays = before.pids.filter((pid) => after.pids.includes(pid));
    const claims: readonly [string, boolean][] =
      kind === "good"
        ? [
            ["exit status 0", status === 0],
            ["the command says 'restarted'", said.includes("app: restarted")],
            ["the log says 'application restarted'", log.includes("application restarted")],
            ["the status has no restart under way", after.rollout === null],
            ["no old process is left", stays.length === 0],
          ]
        : [
            ["exit status 1", status === 1],
            ["the command says why", said.includes("this version is broken")],
            ["the log says 'restart given up'", log.includes("restart given up")],
            ["the log says why", log.includes("this version is broken")],
            ["the status says 'refused'", after.rollout === "refused"],
            ["the old processes are left", stays.length === before.pids.length],
          ];
    return claims.filter(([, holds]) => !holds).map(([claim]) => `${kind}: not so: ${claim}`);
  }

  get #log(): string {
    return readFileSync(join(this.#place.directory, "log"), "utf8");
  }

  async #state(): Promise<PoolState> {
    const { said } = await this.#run("status", "--json");
    const { pool } = JSON.parse(said) as GatewayStatus;
    const [application] = pool?.applications ?? [];
    const pids = application?.instances.map(({ pid }) => pid) ?? [];
    return { rollout: application?.rollout ?? null, pids };
  }

  async #run(...words: readonly string[]): Promise<{ status: number; said: string }> {
    const { executable, directory } = this.#place;
    const child = Bun.spawn([executable, ...words], {
      env: environmentOf(directory),
      stdio: ["ignore", "pipe", "pipe"],
    });
    const said = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { status: await child.exited, said: said.join("") };
  }
}

interface PoolState {
  readonly rollout: string | null;
  readonly pids: readonly number[];
}

/** Gateways are found in a place of their own: whatever else runs here is left alone. */
function environmentOf(directory: string): Record<string, string> {
  return { ...ENVIRONMENT, [runtimeVariable]: directory };
}

interface Measured {
  readonly type: AppType;
  readonly tally: Tally;
  readonly windows: Readonly<Record<Kind, readonly Window[]>>;
  readonly wrong: readonly string[];
}

async function measure(options: Options, type: AppType, directory: string): Promise<Measured> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  const scene = await Scene.start(options.server, type, directory);
  const { connections, rounds, seconds } = options;
  const tally = new Windows();
  const windows: Record<Kind, Window[]> = { none: [], good: [], broken: [] };
  const wrong: string[] = [];
  const over = new AbortController();
  const question = { method: "GET", path: "/", body: "", answer: GREETING[type] } as const;
  const running = load(scene.port, connections, [question], over.signal, tally);
  try {
    await Bun.sleep(WARM_MS);
    for (let round = 0; round < rounds; round++) {
      for (const kind of KINDS) {
        tally.next();
        const untilMs = performance.now() + seconds * 1_000;
        if (kind !== "none") {
          wrong.push(...(await scene.restart(kind)));
          await Bun.sleep(AFTER_MS);
        }
        await Bun.sleep(Math.max(0, untilMs - performance.now()));
        windows[kind].push(tally.next());
      }
    }
  } finally {
    over.abort();
    await running;
    await scene.stop();
  }
  return { type, tally, windows, wrong };
}

/** The longest of all windows of a kind, and their median. */
function longest(windows: readonly Window[]): {
  readonly mostMs: number;
  readonly usualMs: number;
} {
  const all = windows.map(({ longestMs }) => longestMs);
  return { mostMs: Math.max(...all), usualMs: median(all) };
}

function rowOf({ type, tally, windows }: Measured): string[] {
  const cells = KINDS.map((kind) => {
    const { mostMs, usualMs } = longest(windows[kind]);
    return `${show(usualMs)}; ${show(mostMs)}`;
  });
  const usual = longest(windows.none).mostMs;
  const most = Math.max(longest(windows.good).mostMs, longest(windows.broken).mostMs);
  const requests = tally.requests.toLocaleString("en-US");
  return [type, `${tally.failed} of ${requests}`, ...cells, show(Math.max(0, most - usual))];
}

/** Runs it (frame.ts). */
export async function benchRestarts(args: string[]): Promise<void> {
  const options = readOptions(args);
  await measured("restarts", options, async (directory) => {
    const all: Measured[] = [];
    for (const type of options.only) {
      const found = await measure(options, type, join(directory, type));
      say(rowOf(found).join(" | "));
      all.push(found);
    }
    const head = ["application", "failed", "without", "good", "broken", "above, ms"];
    const text = `${machineLine()}\n\n${markdownTable(head, all.map(rowOf), 1)}\n`;
    const wrong = all.flatMap(({ type, tally, wrong: said }) => [
      ...said.map((what) => `${type}: ${what}`),
      ...[...tally.failures].map(([kind, count]) => `${type}: ${count} requests: ${kind}`),
    ]);
    return { text, wrong };
  });
}
