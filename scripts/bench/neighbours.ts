/**
 * A good application beside four that are not, in one pool: one leaks, one hangs, one crashes, one
 * takes long to start. In turn the good one is measured alone and beside the visitors of the
 * others; afterwards the log and the metrics have to explain what became of each of these.
 *
 *     bun scripts/bench.ts neighbours [--seconds 600] [--rounds 10] [--type rack]
 *                                     [--server PATH] [--write FILE]
 *
 * It fails, with status 1, when a request of the good application fails, when metrics, log and
 * visitors count differently, or when a process outlives the gateway. How much longer the good
 * one's requests take is the machine's as well: it only says so.
 */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { runtimeVariable } from "../../src/gateway/supervisor/runtime-directory.ts";
import { machineLine } from "./document.ts";
import { numberFlag, readFlags, wordFlag } from "./flags.ts";
import { APPS, keepLog, measured, say, usualFlags } from "./frame.ts";
import { APP_TYPES, type AppType, ENVIRONMENT } from "./http-servers.ts";
import { markdownTable, show } from "./http-table.ts";
import { Tally } from "./load-connection.ts";
import { median, quantile } from "./rows.ts";
import { freePort, StartedServer } from "./started-server.ts";
import { visitGood } from "./tenants.ts";

/** What each of the others is, and what it is allowed. */
const NEIGHBOURS = [
  { name: "leaking", type: "node", limits: 'max_memory = "150m"', restMs: 100 },
  { name: "hanging", type: "wsgi", limits: 'request_timeout = "2s"', restMs: 100 },
  { name: "crashing", type: "bun", limits: "", restMs: 100 },
  { name: "slow-starting", type: "rack", limits: 'idle_time = "1s"', restMs: 3_000 },
] as const;
type Name = (typeof NEIGHBOURS)[number]["name"];

/** Visitors of each of the others; each rests as long again at random. */
const VISITORS = 2;
/** Of the time of a round, what the good one has alone. */
const ALONE = 1 / 3;
/** Until nothing is left of what visitors of the others have asked for. */
const SETTLE_MS = 3_000;

const readOptions = (args: string[]) =>
  readFlags(args, {
    ...usualFlags,
    seconds: numberFlag(600),
    rounds: numberFlag(10),
    type: wordFlag(APP_TYPES, "rack"),
  });
type Options = ReturnType<typeof readOptions>;

/** Lays the applications out below the directory. @returns the file of their configuration. */
function layOut(directory: string, type: AppType, port: number): string {
  const good = { name: "good", type, limits: "", source: join(APPS, type) };
  const others = NEIGHBOURS.map((one) => {
    return { ...one, source: join(import.meta.dir, "neighbours", one.name) };
  });
  const tables = [good, ...others].map(({ name, type: kind, limits, source }) => {
    cpSync(source, join(directory, name), { recursive: true });
    return `[[apps]]\nroot = "${name}"\ntype = "${kind}"\nprefix = "/${name}"\n${limits}\n`;
  });
  const file = join(directory, "gateway.toml");
  const head = `listen = ["127.0.0.1:${port}"]\nlog = { access = "off", level = 1 }\n`;
  writeFileSync(file, `${head}pool.max = 6\n${tables.join("")}`);
  return file;
}

/** What its visitors got, by status. */
type Outcomes = Map<number, number>;

async function visit(url: string, restMs: number, untilMs: number, got: Outcomes): Promise<void> {
  while (performance.now() < untilMs) {
    const answer = await fetch(url);
    await answer.arrayBuffer();
    got.set(answer.status, (got.get(answer.status) ?? 0) + 1);
    await Bun.sleep(restMs * (1 + Math.random()));
  }
}

interface Round {
  readonly alone: Tally;
  readonly beside: Tally;
}

/** The whole scene. */
async function play(options: Options, directory: string): Promise<Scene> {
  const { type, seconds, rounds } = options;
  const port = await freePort();
  const argv = [options.server, "serve", "--config", layOut(directory, type, port)];
  const env = { ...ENVIRONMENT, [runtimeVariable]: directory };
  const log = join(directory, "log");
  const server = await StartedServer.start("serve", [{ argv, cwd: directory, env }], port, log);
  const outcomes = new Map<Name, Outcomes>(NEIGHBOURS.map(({ name }) => [name, new Map()]));
  const played: Round[] = [];
  const roundMs = (seconds * 1_000) / rounds;
  const good = (ms: number) => visitGood(port, type, performance.now() + ms, () => {});
  try {
    await good(1_000); // Warm.
    for (let round = 0; round < rounds; round += 1) {
      const alone = await good(roundMs * ALONE);
      const untilMs = performance.now() + roundMs * (1 - ALONE) - SETTLE_MS;
      const others = NEIGHBOURS.flatMap(({ name, restMs }) =>
        Array.from({ length: VISITORS }, () => {
          const got = outcomes.get(name) ?? new Map<number, number>();
          return visit(`http://127.0.0.1:${port}/${name}/`, restMs, untilMs, got);
        }),
      );
      const beside = await good(untilMs - performance.now());
      await Promise.all(others);
      await Bun.sleep(SETTLE_MS);
      played.push({ alone, beside });
    }
    const metrics = await Bun.spawn([options.server, "status", "--openmetrics"], {
      env,
    }).stdout.text();
    return { rounds: played, outcomes, metrics, log: readFileSync(log, "utf8") };
  } finally {
    const left = await server.stop();
    if (left.length > 0) process.exitCode = 1;
    for (const { pid } of left) say(`process ${pid} outlived the gateway`);
    keepLog(log);
  }
}

interface Scene {
  readonly rounds: readonly Round[];
  readonly outcomes: ReadonlyMap<Name, Outcomes>;
  readonly metrics: string;
  readonly log: string;
}

/** How often each text that the pattern takes out of an application's lines is there. */
function counted({ log }: Scene, name: Name, event: string, what: RegExp): Map<string, number> {
  const found = new Map<string, number>();
  for (const line of log.split("\n")) {
    if (!line.includes(event) || !line.includes(`/${name} `)) continue;
    const [, text = ""] = what.exec(line) ?? [];
    found.set(text, (found.get(text) ?? 0) + 1);
  }
  return found;
}

function metric({ metrics }: Scene, family: string, labels: string): number {
  const start = `application_pool_${family}{${labels}} `;
  const line = metrics.split("\n").find((one) => one.startsWith(start));
  return Number(line?.slice(start.length) ?? Number.NaN);
}

const sum = (counts: Iterable<number>): number => [...counts].reduce((all, one) => all + one, 0);

/** `4 died, 2 idle`. */
function listed(counts: ReadonlyMap<number | string, number>): string {
  const most = [...counts].toSorted(([, a], [, b]) => b - a);
  return most.map(([what, count]) => `${count.toLocaleString("en-US")} ${what}`).join(", ");
}

/** Where log, metrics and visitors say something else than each other. */
function contradictions(scene: Scene, name: Name, got: Outcomes): string[] {
  const started = sum(counted(scene, name, " instance spawned ", /()/).values());
  const died = sum(counted(scene, name, " instance died ", /()/).values());
  const gone = sum(counted(scene, name, " instance retired ", /()/).values());
  const overdue = sum(counted(scene, name, "a request takes too long", /()/).values());
  const running = ["idle", "active", "busy", "leaving", "dead"].map((state) =>
    metric(scene, "processes", `app="${name}",state="${state}"`),
  );
  const pairs: readonly [string, number, number][] = [
    ["starts", started, metric(scene, "app_spawns_total", `app="${name}",result="ok"`)],
    ["deaths", died, metric(scene, "app_deaths_total", `app="${name}"`)],
    ["processes that are gone or run", started, gone + sum(running)],
    ["requests that got 504, and that took too long", got.get(504) ?? 0, overdue],
    ...[2, 5].map((digit): [string, number, number] => [
      `requests that got ${digit}xx`,
      sum([...got].filter(([status]) => Math.floor(status / 100) === digit).map(([, n]) => n)),
      metric(scene, "requests_total", `app="${name}",status="${digit}xx"`),
    ]),
  ];
  return pairs
    .filter(([, one, other]) => one !== other)
    .map(([what, one, other]) => `${name}: ${what}: ${one}, not ${other}`);
}

function neighbourRow(scene: Scene, name: Name, got: Outcomes): string[] {
  const reasons = counted(scene, name, " instance retired ", / reason=(\w+)/);
  return [
    name,
    listed(got),
    metric(scene, "app_spawns_total", `app="${name}",result="ok"`).toLocaleString("en-US"),
    listed(reasons),
    metric(scene, "app_deaths_total", `app="${name}"`).toLocaleString("en-US"),
  ];
}

function goodRow(name: string, tallies: readonly Tally[]): string[] {
  const times = tallies.flatMap(({ timesMs }) => timesMs);
  return [
    name,
    sum(tallies.map(({ requests }) => requests)).toLocaleString("en-US"),
    String(sum(tallies.map(({ failed }) => failed))),
    ...[0.5, 0.99].map((share) => show(quantile(times, share))),
    show(Math.max(...tallies.map(({ longestMs }) => longestMs))),
  ];
}

function textOf({ seconds, rounds, type }: Options, scene: Scene): string {
  const ratios = scene.rounds.map(
    ({ alone, beside }) => quantile(beside.timesMs, 0.99) / quantile(alone.timesMs, 0.99),
  );
  const good = markdownTable(
    ["the good application", "requests", "failed", "p50, ms", "p99, ms", "longest, ms"],
    [
      goodRow(
        "alone",
        scene.rounds.map(({ alone }) => alone),
      ),
      goodRow(
        "beside the others",
        scene.rounds.map(({ beside }) => beside),
      ),
    ],
    1,
  );
  const others = markdownTable(
    ["application", "what its visitors got", "processes", "why they left", "of them died"],
    [...scene.outcomes].map(([name, got]) => neighbourRow(scene, name, got)),
  );
  const how = `${type}, ${seconds} s in ${rounds} rounds`;
  const ratio = `The p99 beside the others is ${median(ratios).toFixed(2)} times that alone`;
  const range = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
  return `${machineLine()} ${how}.\n\n${good}\n\n${ratio} (median; ${range}).\n\n${others}\n`;
}

/** Runs it (frame.ts). */
export async function benchNeighbours(args: string[]): Promise<void> {
  const options = readOptions(args);
  await measured("neighbours", options, async (directory) => {
    const scene = await play(options, directory);
    const failures = scene.rounds
      .flatMap(({ alone, beside }) => [...alone.failures, ...beside.failures])
      .map(([kind, count]) => `the good application: ${count} ${kind}`);
    const wrong = [...scene.outcomes].flatMap(([name, got]) => contradictions(scene, name, got));
    return { text: textOf(options, scene), wrong: [...failures, ...wrong] };
  });
}
