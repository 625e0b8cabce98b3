/**
 * A good application beside bad tenants: twelve applications of all kinds in a pool of six, which
 * hang, flood, crash and leave processes behind, while processes of every kind are killed and
 * stopped at random.
 *
 *     bun scripts/bench.ts tenants [--seconds 600] [--type rack] [--seed N] [--server PATH]
 *
 * First the good application is measured alone, for a sixth of the time. It fails, with status 1,
 * when a request of the good application fails for no reason that is known, or when a process of
 * the gateway outlives it. Seeded, but what happens is the machine's as well.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { numberFlag, readFlags, wordFlag } from "./flags.ts";
import { APPS, keepLog, measured, type Outcome, say, serverFlag } from "./frame.ts";
import { APP_TYPES, type AppType, ENVIRONMENT, GREETING } from "./http-servers.ts";
import { markdownTable, show } from "./http-table.ts";
import { LoadConnection, Tally } from "./load-connection.ts";
import { commandOf, type ProcessFacts, pssKiB, withDescendants } from "./process-tree.ts";
import { quantile } from "./rows.ts";
import { freePort, StartedServer } from "./started-server.ts";

const BAD = join(import.meta.dir, "tenants");

/** What bad tenants do; one of each kind does one of these most of the time. */
const DEEDS = ["hang", "flood", "crash", "fork", "slow", ""] as const;
const TENANTS = APP_TYPES.flatMap((type, kind) =>
  [0, 1, 2].map((turn) => ({ name: `${type}-${turn}`, type, deed: (kind + 2 * turn) % 5 })),
);
/** How long a visitor of a bad tenant has patience. */
const PATIENCE_MS = 4_000;
/** Visitors of the good application, and how long each rests after an answer. */
const VISITORS = 4;
const REST_MS = 8;
/** Between two faults. A stopped process is noticed after 10 s, and continued by nobody. */
const FAULT_EVERY_MS = 10_000;
/** So long after a fault a failure is put down to it: the watchdog's silence and a new start. */
const AFTERMATH_MS = 15_000;

const readOptions = (args: string[]) =>
  readFlags(args, {
    server: serverFlag,
    seconds: numberFlag(600),
    type: wordFlag(APP_TYPES, "rack"),
    seed: numberFlag(Date.now() % 100_000),
  });
type Options = ReturnType<typeof readOptions>;

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Lays the applications out below the directory, and their configuration. */
function layOut(directory: string, type: AppType, port: number): string {
  const apps = [{ name: "good", type, source: join(APPS, type) }].concat(
    TENANTS.map((tenant) => ({ ...tenant, source: join(BAD, tenant.type) })),
  );
  for (const { name, source } of apps) {
    const root = join(directory, name);
    cpSync(source, root, { recursive: true });
    mkdirSync(join(root, "tmp"));
  }
  cpSync(join(BAD, "deeds.cjs"), join(directory, "deeds.cjs"));
  const file = join(directory, "gateway.toml");
  writeFileSync(
    file,
    [
      `listen = ["127.0.0.1:${port}"]`,
      `log.access = "off"`,
      `log.level = 0`,
      `pool.max = 6`,
      `limits.response_time = "5s"`,
      `limits.queue_time = "20s"`,
      ...apps.flatMap((app) => [
        `[[apps]]`,
        `name = "${app.name}"`,
        `root = "${join(directory, app.name)}"`,
        `type = "${app.type}"`,
        `prefix = "/${app.name}"`,
      ]),
      "",
    ].join("\n"),
  );
  return file;
}

/** One visitor of a bad tenant: asks, is told something or loses patience, asks again. */
async function visitTenant(
  url: string,
  own: number,
  random: () => number,
  untilMs: number,
  outcomes: Map<string, number>,
): Promise<void> {
  while (performance.now() < untilMs) {
    const deed = random() < 0.5 ? DEEDS[own] : DEEDS[Math.floor(random() * DEEDS.length)];
    let outcome: string;
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const response = await fetch(`${url}/${deed}`, { signal });
      await response.arrayBuffer();
      outcome = String(response.status);
    } catch (error) {
      outcome = error instanceof Error && error.name === "TimeoutError" ? "left" : "no answer";
    }
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    await Bun.sleep(100 + random() * 200);
  }
}

interface Fault {
  readonly atMs: number;
  readonly what: string;
}

/** Kills or stops a process of the gateway, of any kind but the supervisor. */
function strike(server: StartedServer, random: () => number): Fault | undefined {
  const [supervisor = 0] = server.pids;
  const all = withDescendants(server.pids).filter(({ pid }) => pid !== supervisor);
  const kinds = Map.groupBy(all, ({ pid }) => kindOf(commandOf(pid)));
  const names = [...kinds.keys()];
  const kind = names[Math.floor(random() * names.length)];
  const members: ProcessFacts[] = kind === undefined ? [] : (kinds.get(kind) ?? []);
  const victim = members[Math.floor(random() * members.length)];
  if (victim === undefined) return undefined;
  const signal = random() < 0.5 ? "SIGKILL" : "SIGSTOP";
  try {
    process.kill(victim.pid, signal);
  } catch {
    return undefined; // Gone by itself.
  }
  return { atMs: performance.now(), what: `${signal} of ${kind}` };
}

function kindOf(command: string): string {
  if (command.includes(" serve --config ")) return "the supervisor";
  if (command.endsWith(" gateway-worker")) return "a worker";
  if (/ \d builtin /.test(command)) return "the pool server";
  return "an application's process";
}

/** Visits the good application from now until then. @returns how it went. */
export async function visitGood(
  port: number,
  type: AppType,
  untilMs: number,
  onFailure: (failure: string) => void,
): Promise<Tally> {
  const tally = new Tally();
  const question = { method: "GET", path: "/good/", body: "", answer: GREETING[type] } as const;
  const visitor = async (): Promise<void> => {
    const connection = new LoadConnection(port);
    while (performance.now() < untilMs) {
      const failure = await connection.askOnce(question, tally);
      if (failure !== undefined) onFailure(failure);
      await Bun.sleep(REST_MS);
    }
    connection.leave();
  };
  await Promise.all(Array.from({ length: VISITORS }, visitor));
  return tally;
}

function openDescriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Supervisor's descriptors, memory of all that is ours, and zombies that we do not reap. */
async function look(server: StartedServer) {
  const [supervisor = 0] = server.pids;
  const dead = zombiesOf(server);
  await Bun.sleep(1_000); // Who has died just now is no zombie yet.
  const zombies = zombiesOf(server).filter((pid) => dead.includes(pid)).length;
  const ours = withDescendants(server.pids).filter(isOurs);
  return {
    descriptors: openDescriptorsOf(supervisor),
    memoryMiB: pssKiB(ours) / 1024,
    zombies,
  };
}

function isOurs({ pid }: ProcessFacts): boolean {
  return kindOf(commandOf(pid)) !== "an application's process";
}

/** Dead children of the gateway's own processes; those of applications are theirs to reap. */
function zombiesOf(server: StartedServer): number[] {
  const all = withDescendants(server.pids);
  const ours = all.filter(({ state }) => state !== "Z").filter(isOurs);
  return all
    .filter(({ state, parent }) => state === "Z" && ours.some(({ pid }) => pid === parent))
    .map(({ pid }) => pid);
}

/** The whole scene. */
async function play(options: Options, directory: string): Promise<Required<Outcome>> {
  const { type, seconds, seed } = options;
  const random = randomFrom(seed);
  const port = await freePort();
  const config = layOut(directory, type, port);
  const argv = [options.server, "serve", "--config", config];
  const command = { argv, cwd: directory, env: ENVIRONMENT };
  const log = join(directory, "log");
  const server = await StartedServer.start("serve", [command], port, log);
  let text = "";
  const unexplained: string[] = [];
  const faults: Fault[] = [];
  const explain = (failure: string): void => {
    const now = performance.now();
    if (!faults.some(({ atMs }) => now - atMs < AFTERMATH_MS)) unexplained.push(failure);
  };
  try {
    await visitGood(port, type, performance.now() + 1_000, () => {}); // Warm.
    const aloneUntil = performance.now() + (seconds * 1000) / 6;
    const alone = await visitGood(port, type, aloneUntil, explain);
    const untilMs = performance.now() + seconds * 1000;
    const outcomes = new Map<string, number>();
    const tenants = TENANTS.map(({ name, deed }) =>
      visitTenant(`http://127.0.0.1:${port}/${name}`, deed, random, untilMs, outcomes),
    );
    const beside = visitGood(port, type, untilMs, explain);
    await Bun.sleep(FAULT_EVERY_MS);
    const early = await look(server);
    while (performance.now() < untilMs - AFTERMATH_MS) {
      const fault = strike(server, random);
      if (fault !== undefined) faults.push(fault);
      await Bun.sleep(FAULT_EVERY_MS * (0.5 + random()));
    }
    const tally = await beside;
    await Promise.all(tenants);
    const late = await look(server);
    text = report(options, alone, tally, { outcomes, faults, early, late });
  } finally {
    const left = await server.stop();
    for (const { pid } of left) unexplained.push(`process ${pid} outlived the gateway`);
  }
  keepLog(log);
  return { text, wrong: unexplained };
}

interface Observed {
  readonly outcomes: ReadonlyMap<string, number>;
  readonly faults: readonly Fault[];
  readonly early: Awaited<ReturnType<typeof look>>;
  readonly late: Awaited<ReturnType<typeof look>>;
}

function row(name: string, tally: Tally): string[] {
  return [
    name,
    tally.requests.toLocaleString("en-US"),
    String(tally.failed),
    show(quantile(tally.timesMs, 0.5)),
    show(quantile(tally.timesMs, 0.99)),
    show(tally.longestMs),
  ];
}

function report(options: Options, alone: Tally, beside: Tally, seen: Observed): string {
  const { seed, type, seconds } = options;
  const head = ["the good application", "requests", "failed", "p50, ms", "p99, ms", "longest, ms"];
  const rows = [row("alone", alone), row("beside twelve others", beside)];
  const faults = Object.entries(Object.groupBy(seen.faults, ({ what }) => what));
  const looked = (name: "early" | "late"): string => {
    const { descriptors, memoryMiB, zombies } = seen[name];
    return `${descriptors} descriptors, ${show(memoryMiB)} MiB, ${zombies} zombies`;
  };
  return [
    `${type}, ${seconds} s, seed ${seed}`,
    "",
    markdownTable(head, rows),
    "",
    `Failures: ${[...beside.failures].map(([kind, count]) => `${count} ${kind}`).join(", ")}.`,
    `Faults: ${faults.map(([what, all]) => `${all?.length ?? 0} ${what}`).join(", ")}.`,
    `Others' requests: ${[...seen.outcomes].map(([what, n]) => `${n} ${what}`).join(", ")}.`,
    `The supervisor and what is ours, early: ${looked("early")}; late: ${looked("late")}.`,
  ].join("\n");
}

/** The end of the log, without what floods it. */
function sayLog(log: string): void {
  const lines = existsSync(log) ? readFileSync(log, "utf8").split("\n") : [];
  const quiet = lines.filter((line) => !/flood/.test(line));
  say(quiet.slice(-20).join("\n"));
}

/** Runs it (frame.ts). */
export async function benchTenants(args: string[]): Promise<void> {
  const options = readOptions(args);
  await measured("tenants", options, async (directory) => {
    const log = join(directory, "log");
    try {
      const { text, wrong } = await play(options, directory);
      if (wrong.length === 0) return { text };
      sayLog(log);
      const first = wrong.slice(0, 10).join("; ");
      return { text, wrong: [`${wrong.length} things nobody can explain: ${first}`] };
    } catch (error) {
      sayLog(log);
      throw error;
    }
  });
}
