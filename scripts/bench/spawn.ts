/**
 * What it costs to start an instance: time beside loading the same application by hand, and the
 * memory that each further instance takes, forked by a preloader or by itself.
 *
 *     bun scripts/bench.ts spawn [--rounds 5] [--server PATH] [--write FILE]
 */
import { cpSync } from "node:fs";
import { join } from "node:path";

import { startPoolServer } from "../../src/parent/index.ts";
import { machineLine } from "./document.ts";
import { numberFlag, readFlags } from "./flags.ts";
import { APPS, measured, usualFlags } from "./frame.ts";
import { APP_TYPES, type AppType, ENVIRONMENT } from "./http-servers.ts";
import { markdownTable, show } from "./http-table.ts";
import { pssKiB, withDescendants } from "./process-tree.ts";
import { median } from "./rows.ts";

/** Instances beside the first, for the memory that one takes. */
const FURTHER = 4;
/** Until a process that has just started is idle. */
const SETTLE_MS = 1000;

/** Loading the application with nothing around it, to the end of the process. */
const BY_HAND: Readonly<Record<AppType, readonly string[]>> = {
  rack: ["ruby", "-e", 'require "rack"; Rack::Builder.parse_file("config.ru")'],
  wsgi: ["python3", "-c", 'import runpy; runpy.run_path("passenger_wsgi.py")'],
  node: ["node", "-e", 'require("./app.js"); process.exit()'],
  bun: [process.execPath, "-e", 'await import("./server.ts"); process.exit()'],
};

type SpawnMethod = "smart" | "conservative";

/** Which of the two an application of this kind can be. */
function methodsOf(type: AppType): SpawnMethod[] {
  return type === "rack" || type === "wsgi" ? ["smart", "conservative"] : ["conservative"];
}

const readOptions = (args: string[]) =>
  readFlags(args, {
    ...usualFlags,
    rounds: numberFlag(5),
  });
type Options = ReturnType<typeof readOptions>;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function loadByHand(type: AppType, root: string): Promise<void> {
  const env = { ...ENVIRONMENT, PORT: "0" };
  const child = Bun.spawn([...BY_HAND[type]], { cwd: root, env, stdout: "ignore" });
  const status = await child.exited;
  if (status !== 0) throw new Error(`${BY_HAND[type].join(" ")}: status ${status}`);
}

/** What one round finds; milliseconds and MiB. */
interface Round {
  /** A get with nothing of the application started. */
  readonly coldMs: number;
  /** A get beside an instance that is busy. */
  readonly furtherMs: number;
  /** Memory of each instance beyond the first. */
  readonly furtherMiB: number;
}

/** One round, with a server of its own that has started another such application before. */
async function measure(
  executable: string,
  directory: string,
  type: AppType,
  spawnMethod: SpawnMethod,
): Promise<Round> {
  await using server = startPoolServer({
    executable,
    env: { ...ENVIRONMENT, TMPDIR: directory },
    stdio: ["ignore", "ignore", "inherit"],
  });
  using connection = await server.connect();
  const roots = ["first", "measured"].map((name) => join(directory, type, name));
  const [first = "", root = ""] = roots;
  for (const each of roots) await connection.configure(each, { concurrency: 1 });
  using other = await connection.get({ root: first, appType: type, spawnMethod: "conservative" });
  other.close();
  const memory = () =>
    pssKiB(withDescendants([server.pid]).filter(({ pid }) => pid !== server.pid));
  using sessions = new DisposableStack();
  const get = async () => {
    sessions.use(await connection.get({ root, appType: type, spawnMethod }));
  };
  const coldMs = await timed(get);
  await Bun.sleep(SETTLE_MS);
  const before = memory();
  const furtherMs = await timed(get);
  for (let count = 1; count < FURTHER; count++) await get();
  await Bun.sleep(SETTLE_MS);
  return { coldMs, furtherMs, furtherMiB: (memory() - before) / FURTHER / 1024 };
}

/** A row of the table: medians, and the cold start as a multiple of loading it by hand. */
function row(type: AppType, method: SpawnMethod, rounds: readonly Round[], byHand: number[]) {
  const middle = (read: (round: Round) => number): number => median(rounds.map(read));
  const handMs = median(byHand);
  const coldMs = middle((round) => round.coldMs);
  return [
    type,
    method,
    show(handMs),
    `${show(coldMs)} (${(coldMs / handMs).toFixed(2)})`,
    show(middle((round) => round.furtherMs)),
    show(middle((round) => round.furtherMiB)),
  ];
}

async function measureType(
  type: AppType,
  options: Options,
  directory: string,
): Promise<readonly string[][]> {
  for (const name of ["first", "measured"]) {
    cpSync(join(APPS, type), join(directory, type, name), { recursive: true });
  }
  const byHand: number[] = [];
  const found = methodsOf(type).map((method) => ({ method, rounds: [] as Round[] }));
  for (let turn = 0; turn < options.rounds; turn++) {
    byHand.push(await timed(() => loadByHand(type, join(directory, type, "first"))));
    for (const { method, rounds } of found) {
      rounds.push(await measure(options.server, directory, type, method));
    }
  }
  process.stderr.write(`measured ${type}\n`);
  return found.map(({ method, rounds }) => row(type, method, rounds, byHand));
}

/** Runs it (frame.ts). */
export async function benchSpawn(args: string[]): Promise<void> {
  const options = readOptions(args);
  await measured("spawn", options, async (directory) => {
    const rows: string[][] = [];
    for (const type of APP_TYPES) rows.push(...(await measureType(type, options, directory)));
    const head = [
      "type",
      "spawn method",
      "by hand, ms",
      "first, ms",
      "further, ms",
      "further, MiB",
    ];
    return { text: `${machineLine()}\n\n${markdownTable(head, rows)}\n` };
  });
}
