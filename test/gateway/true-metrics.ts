/**
 * Each family of a gateway's metrics beside what is true: what a client has counted, what the
 * kernel says of the processes, what the log says became of them, what was configured. A family
 * that has no comparison here fails.
 */
import { expect } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { GatewayStatus } from "../../src/wire/gateway-status.ts";
import { binaryPath } from "../helpers/binary-server.ts";
import { readExposition } from "../helpers/exposition.ts";
import type { Gateway } from "../helpers/gateway.ts";
import type { Client } from "./counted-load.ts";

/** What is true at a moment. */
export interface Truth {
  readonly gateway: Gateway;
  readonly directory: string;
  readonly client: Client;
  /** Requests of shop that wait for an answer. */
  readonly underWay: number;
  /** Of them, those that left without one. */
  readonly left: number;
  /** When the gateway was started, and those that wait. */
  readonly startedMs: number;
  readonly waitSinceMs: number;
  /** How long a request of shop was under way at least; 0: it still is. */
  readonly heldMs: number;
  /** Processes by application. */
  readonly pids: ReadonlyMap<string, readonly number[]>;
  readonly status: GatewayStatus;
}

export type Labels = Readonly<Record<string, string>>;
/** What a sample is to be, or whether it is right. */
type Compare = (truth: Truth, value: number, labels: Labels) => number | boolean;

export const names = ["shop", "blog", "other", "broken"];
export const sum = (numbers: Iterable<number>): number => [...numbers].reduce((a, b) => a + b, 0);
export const near = (value: number, true_: number, part: number): boolean =>
  Math.abs(value - true_) <= part * true_;

/** Lines of the log about an application's processes. */
function lines({ gateway, directory }: Truth, event: string, app?: string, more = ""): number {
  const root = app === undefined ? "" : ` app=${join(directory, app)} `;
  const all = gateway.log.split("\n").filter((line) => line.includes(event));
  return all.filter((line) => `${line} `.includes(root) && line.endsWith(more)).length;
}

export const died = (truth: Truth, app?: string) => lines(truth, "instance died", app);
export const spawned = (truth: Truth, app?: string) => lines(truth, "instance spawned", app);
export const failed = (truth: Truth, app?: string) =>
  lines(truth, "spawn failed", app) + lines(truth, "spawn given up", app);
const restarted = (truth: Truth, app?: string) => lines(truth, "application restarted", app);
const processes = ({ pids }: Truth) => sum([...pids.values()].map(({ length }) => length));
export const counters = ({ status }: Truth) => status.pool?.counters ?? expect.unreachable();

/** How many requests of an application a client knows of. */
export const requests = ({ client, left }: Truth, app = "") =>
  client.all(app) + (app === "shop" ? left : 0);

/** A worker may see the end of an answer so long after its visitor, where others are at work. */
export const laterMs = 50;

function ofHistogram(truth: Truth, value: number, labels: Labels, all: number): boolean | number {
  const { app = "", part, le } = labels;
  const { client, left, waitSinceMs, heldMs } = truth;
  if (part === "_count" || le === "+Inf") return all;
  const times = client.of(app).timesMs;
  // Who left had it for less time than since it began.
  const leftMs = left * (performance.now() - waitSinceMs);
  if (part === "_sum") {
    return value >= 0 && value <= (sum(times) + leftMs) / 1000 + (all * laterMs) / 1000;
  }
  const endMs = Number(le) * 1000;
  const within = times.filter((ms) => ms + laterMs <= endMs).length;
  const past = app === "shop" && endMs < heldMs ? 1 : 0;
  return value <= all - past && value >= within - (requests(truth, app) - all);
}

/** Bytes that a process has in memory, by the kernel's exact count. */
export function residentBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  return Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1]) * 1024;
}

const processOf = ({ status }: Truth, { process = "", number = "0" }: Labels) =>
  status.processes.filter(({ kind }) => kind === process)[Number(number)]?.pid ?? 0;

export const families: Readonly<Record<string, Compare>> = {
  pool_server_answers: () => 1,
  max_processes: () => 3,
  max_processes_per_app: () => 2,
  max_idle_seconds: () => 300,
  global_queue: () => 1,
  current_processes: (truth) => processes(truth),
  active_processes: ({ underWay }) => Math.min(1, underWay),
  top_level_queue: ({ underWay }, value) => value === 0 || value < underWay,
  oldest_waiter_seconds: ({ underWay, waitSinceMs }, value) =>
    underWay === 0 ? 0 : value > 0 && value <= (performance.now() - waitSinceMs) / 1000,
  peak_processes: () => 3,
  peak_active_processes: (_, value) => value >= 1 && value <= 3,
  peak_waiters: (_, value) => value >= 1 && value <= 2,
  processes: ({ pids, underWay }, _, { app = "", state }) => {
    const all = pids.get(app)?.length ?? 0;
    const isBusy = app === "shop" && underWay > 0;
    return state === (isBusy ? "busy" : "idle") ? all : 0;
  },
  sessions: ({ underWay }, value, { app }) => (app === "shop" && underWay > 0 ? 1 : value >= 0),
  kept_sessions: ({ status }, value, { app }) => value <= sessionsOf(status, app),
  waiters: ({ status, underWay }, value, { app }) =>
    app === "shop" && underWay > 0 ? value > 0 && value === status.pool?.waiting : 0,
  spawn_pause_seconds: (_, value, { app }) => (app === "broken" ? value < 30 : 0),
  app_spawns: (truth, _, { app, result }) => (result === "ok" ? spawned : failed)(truth, app),
  app_restarts: (truth, _, { app }) => restarted(truth, app),
  app_deaths: (truth, _, { app }) => died(truth, app),
  gets: (truth, value) => {
    const { grants, cancels, refusals } = counters(truth);
    return (
      grants + cancels + sum(Object.values(refusals)) + (truth.status.pool?.waiting ?? 0) ===
        value && value <= sum(names.map((app) => requests(truth, app))) + truth.underWay
    );
  },
  grants: (truth, value, { process }) =>
    process === "busy" ? 0 : value === counters(truth).sessionsClosed + allSessions(truth),
  waits: (truth, value) => value >= spawned(truth) - 2 && value <= counters(truth).gets,
  cancels: ({ left }, value) => value <= left,
  rejected: ({ client }, _, { reason }) =>
    reason === "spawn_failed" ? client.inClass("broken", 5) : 0,
  sessions_closed: (truth, value) => value === counters(truth).grants - allSessions(truth),
  spawns_begun: (truth) => spawned(truth) + failed(truth),
  spawns: (truth, _, { result }) => (result === "ok" ? spawned : failed)(truth),
  restarts: (truth) => restarted(truth),
  clears: () => 0,
  exits: (truth, _, { reason }) => lines(truth, "instance retired", undefined, `reason=${reason}`),
  deaths: (truth) => died(truth),
  connect_failures: (truth) => lines(truth, "instance does not accept sessions"),
  moves: () => 0,
  recalls: (truth) =>
    sum(Object.values(counters(truth).recalls)) - (counters(truth).recalls["sent"] ?? 0),
  recalls_answered: (_, value) => value >= 0,
  requests: ({ client, left }, _, { app = "", status = "" }) => {
    const gone = app === "shop" && status === "4xx" ? left : 0;
    return client.inClass(app, Number(status[0])) + gone;
  },
  requests_under_way: ({ underWay }, _, { app }) => (app === "shop" ? underWay : 0),
  request_seconds: (truth, value, labels) =>
    ofHistogram(truth, value, labels, requests(truth, labels["app"])),
  // Files of public/ and what finds no application wait for no process.
  queue_seconds: (truth, value, labels) => {
    const { app = "" } = labels;
    const asked = requests(truth, app) - (app === "blog" ? 1 : 0);
    return ofHistogram(truth, value, labels, app === "" ? 0 : asked);
  },
  sent_bytes: ({ client }, _, { app = "" }) => client.of(app).bytes,
  app_resident_memory_bytes: ({ pids }, value, { app = "" }) =>
    near(value, sum((pids.get(app) ?? []).map((pid) => residentBytes(pid))), 0.2),
  // Ours give memory back from moment to moment: isMemoryTrue compares it.
  resident_memory_bytes: (_, value) => value > 1e6,
  open_fds: (truth, value, labels) =>
    Math.abs(value - readdirSync(`/proc/${processOf(truth, labels)}/fd`).length) <= 6,
  event_loop_lag_seconds: (_, value) => value >= 0 && value < 10,
  process_restarts: () => 1,
  build: (_, __, { version }) =>
    Number(
      Bun.spawnSync([binaryPath, "--version"])
        .stdout.toString()
        .includes(version ?? "-"),
    ),
};

function sessionsOf(status: GatewayStatus, app = ""): number {
  const found = status.pool?.applications.find(({ root }) => root.endsWith(`/${app}`));
  return sum(found?.instances.map(({ sessions }) => sessions) ?? []);
}

export const allSessions = ({ status }: Truth) => sum(names.map((app) => sessionsOf(status, app)));

/** Whether the memory of each process of ours is what the kernel says a moment later. */
export function isMemoryTrue(status: GatewayStatus, text: string): boolean {
  const { values } = readExposition(text);
  const found = status.processes.map(({ kind, pid, residentBytes: said }) => {
    const number = status.processes
      .filter((one) => one.kind === kind)
      .findIndex((one) => one.pid === pid);
    const labels = `{process="${kind}",number="${number}"}`;
    const measured = values.get(`application_pool_resident_memory_bytes${labels}`);
    return [residentBytes(pid), said ?? 0, measured ?? 0] as const;
  });
  return found.every(([bytes, ...said]) => said.every((one) => near(one, bytes, 0.03)));
}

/** Compares each sample of each family. */
export function compareMetrics(truth: Truth, text: string): void {
  const { values, families: types } = readExposition(text);
  const found = [...types.keys()].map((name) => name.replace("application_pool_", ""));
  expect(found.toSorted()).toEqual(Object.keys(families).toSorted());
  for (const [sample, value] of values) {
    const [, full = "", inside = ""] = /^application_pool_(\w+)(?:\{(.*)\})?$/.exec(sample) ?? [];
    const name =
      found.find((one) => full === one) ?? full.replace(/_(total|info|bucket|count|sum)$/, "");
    const part = full.slice(name.length);
    const labels = Object.fromEntries(
      [...inside.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text_]) => [key, text_]),
    ) as Labels;
    const right = families[name]?.(truth, value, { ...labels, part });
    expect([sample, right === true ? value : right]).toEqual([sample, value]);
  }
}
