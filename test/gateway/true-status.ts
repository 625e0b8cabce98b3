/**
 * Each member of a gateway's status, and each column of its table, beside what is true. A member
 * that has no comparison here fails.
 */
import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { bucketEndsMs } from "../../src/wire/request-figures.ts";
import { binaryPath } from "../helpers/binary-server.ts";
import {
  allSessions,
  counters,
  failed,
  families,
  laterMs,
  type Labels,
  names,
  near,
  requests,
  residentBytes,
  spawned,
  sum,
  type Truth,
} from "./true-metrics.ts";

type Member = (truth: Truth, value: never, at: readonly number[]) => boolean | undefined;

/** How a figure of a family is compared where the status has it, too. */
const as =
  (family: string, labels: Labels = {}, scale = 1): Member =>
  (truth, value) => {
    const right = families[family]?.(truth, value * scale, labels);
    return right === true || right === value * scale;
  };

/** The times of a client's requests, shortest first; of those that left nothing is known. */
function timesOf({ client, left }: Truth, app: string): number[] {
  const times = client.of(app).timesMs.toSorted((a, b) => a - b);
  return [...times, ...Array.from({ length: app === "shop" ? left : 0 }, () => Infinity)];
}

/** A quantile lies in the client's bucket, or in one below. */
function isQuantile(truth: Truth, app: string, value: number | null, part: number): boolean {
  const times = timesOf(truth, app);
  if (value === null) return times.length === 0;
  const time = times[Math.min(times.length - 1, Math.ceil(part * times.length))] ?? 0;
  return value > 0 && value <= (bucketEndsMs.find((end) => end >= time + laterMs) ?? Infinity);
}

function figuresOf(appOf: (truth: Truth, at: readonly number[]) => string): Record<string, Member> {
  const figure =
    (family: string, labels: Labels = {}, scale = 1): Member =>
    (truth, value, at) =>
      as(family, { ...labels, app: appOf(truth, at) }, scale)(truth, value, at);
  const quantile =
    (part: number): Member =>
    (truth, value, at) =>
      isQuantile(truth, appOf(truth, at), value, part);
  return {
    ...Object.fromEntries(
      ["1xx", "2xx", "3xx", "4xx", "5xx"].map((status) => [
        `statuses.${status}`,
        figure("requests", { status }),
      ]),
    ),
    "times.counts[]": (truth, value: number, at) => value <= requests(truth, appOf(truth, at)),
    "waits.counts[]": (truth, value: number, at) => value <= requests(truth, appOf(truth, at)),
    "times.sumMs": figure("request_seconds", { part: "_sum" }, 1 / 1000),
    "waits.sumMs": figure("queue_seconds", { part: "_sum" }, 1 / 1000),
    bytesSent: figure("sent_bytes"),
    underWay: figure("requests_under_way"),
    // Of the last minute, and the gateway is younger.
    requestsPerSecond: (truth, value: number, at) => {
      const count = requests(truth, appOf(truth, at));
      const seconds = (performance.now() - truth.startedMs) / 1000;
      return seconds > 60 || (value <= count && value >= count / seconds);
    },
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    waitP99Ms: (truth, value: number | null, at) =>
      value === null || isQuantile(truth, appOf(truth, at), value, 1),
  };
}

function below(path: string, inside: Record<string, Member>): Record<string, Member> {
  return Object.fromEntries(Object.entries(inside).map(([key, member]) => [path + key, member]));
}

const pooled = ({ status }: Truth, [at = 0]: readonly number[]) => status.pool?.applications[at];
const pooledName = (truth: Truth, at: readonly number[]): string =>
  names.find((name) => pooled(truth, at)?.root.endsWith(`/${name}`)) ?? "?";
const instance = (truth: Truth, [app = 0, at = 0]: readonly number[]) =>
  pooled(truth, [app])?.instances[at];
/** With the labels of the application in the pool that it is about. */
const ofPooled =
  (family: string, labels: Labels = {}, scale = 1): Member =>
  (truth, value, at) =>
    as(family, { ...labels, app: pooledName(truth, at) }, scale)(truth, value, at);
const isNull: Member = (_, value) => value === null;
const is0: Member = (_, value) => value === 0;
const isFinite: Member = (_, value: number) => value >= 0 && value < Infinity;

const members: Readonly<Record<string, Member>> = {
  name: (_, value) => value === "main",
  pid: ({ gateway }, value) => value === gateway.pid,
  version: (_, version: string) =>
    Bun.spawnSync([binaryPath, "--version"]).stdout.toString().includes(version),
  generation: is0,
  failedSuccessor: isNull,
  "listening[]": ({ gateway }, value, [at = 0]) => value === gateway.addresses[at],
  "workers[]": ({ gateway }, value, [at = 0]) => value === gateway.workers[at]?.pid,
  poolServer: ({ gateway }, value) => value === gateway.poolServer?.pid,
  "applications[].name": (_, value, [at = 0]) => value === names[at],
  "applications[].root": ({ directory }, value, [at = 0]) =>
    value === join(directory, names[at] ?? ""),
  "applications[].pause": isNull,
  "applications[].residentBytes": (truth, value: number | null, [at = 0]) =>
    as("app_resident_memory_bytes", { app: names[at] ?? "" })(truth, (value ?? 0) as never, []) ===
      true && (value === null) === !truth.pids.has(names[at] ?? ""),
  ...below(
    "applications[].figures.",
    figuresOf((_, [at = 0]) => names[at] ?? ""),
  ),
  ...below(
    "unrouted.",
    figuresOf(() => ""),
  ),
  "processes[].kind": (_, kind: string) =>
    ["supervisor", "pool server", "worker", "admin"].includes(kind),
  "processes[].pid": ({ gateway }, pid: number, [at]) =>
    at === 0 ? pid === gateway.pid : gateway.processes.some((one) => one.pid === pid),
  "processes[].residentBytes": as("resident_memory_bytes"),
  "processes[].openFds": ({ status }, value: number, [at = 0]) =>
    Math.abs(value - readdirSync(`/proc/${status.processes[at]?.pid}/fd`).length) <= 6,
  "processes[].lagMs": (_, value: number) => value >= 0 && value < 10_000,
  ...below("restarts.", {
    worker: as("process_restarts"),
    "pool server": as("process_restarts"),
    admin: as("process_restarts"),
  }),
  ...below("pool.", {
    "limits.max": as("max_processes"),
    "limits.maxPerApp": as("max_processes_per_app"),
    "limits.maxIdleMs": as("max_idle_seconds", {}, 1 / 1000),
    "limits.useGlobalQueue": (_, value) => value === true,
    count: as("current_processes"),
    active: as("active_processes"),
    spawning: is0,
    leaving: is0,
    sessions: (truth, value) => value === allSessions(truth),
    waiting: as("top_level_queue"),
    waitingOnGlobalQueue: as("top_level_queue"),
    oldestWaiterMs: (truth, value: number | null, at) =>
      as("oldest_waiter_seconds", {}, 1 / 1000)(truth, (value ?? 0) as never, at),
  }),
  ...below("pool.counters.", {
    gets: as("gets"),
    grants: as("grants", { process: "idle" }),
    grantsOfBusy: is0,
    waits: as("waits"),
    cancels: as("cancels"),
    sessionsClosed: as("sessions_closed"),
    "refusals.spawnFailed": as("rejected", { reason: "spawn_failed" }),
    ...below(
      "refusals.",
      Object.fromEntries(["queueFull", "timedOut", "cannotConnect"].map((why) => [why, is0])),
    ),
    spawnsPlanned: (truth, value: number) => value >= spawned(truth) + failed(truth),
    spawnsDropped: isFinite,
    spawnsBegun: as("spawns_begun"),
    spawnsDone: as("spawns", { result: "ok" }),
    spawnsFailed: as("spawns", { result: "failed" }),
    restarts: as("restarts"),
    clears: as("clears"),
    deaths: as("deaths"),
    connectFailures: as("connect_failures"),
    moves: as("moves"),
    "recalls.sent": as("recalls"),
    ...below(
      "recalls.",
      Object.fromEntries(["closed", "kept", "timedOut"].map((how) => [how, isFinite])),
    ),
    peakCount: as("peak_processes"),
    peakActive: as("peak_active_processes"),
    peakWaiting: as("peak_waiters"),
  }),
  ...below("pool.applications[].", {
    root: ({ directory, ...truth }, value, at) =>
      value === join(directory, pooledName({ directory, ...truth }, at)),
    rootBase64: isNull,
    maxInstances: (truth, value, at) => value === (pooledName(truth, at) === "shop" ? 1 : null),
    restartPending: (_, value) => value === false,
    rollout: isNull,
    waiting: ofPooled("waiters"),
    "waiters[].ageMs": ({ waitSinceMs }, value: number) => value < performance.now() - waitSinceMs,
    "waiters[].failedConnects": is0,
    "counters.spawnsDone": ofPooled("app_spawns", { result: "ok" }),
    "counters.spawnsFailed": ofPooled("app_spawns", { result: "failed" }),
    "counters.deaths": ofPooled("app_deaths"),
    "counters.restarts": ofPooled("app_restarts"),
    "counters.restartsRefused": is0,
    lastSpawnError: (truth, value, at) =>
      value === null && (pooledName(truth, at) !== "broken" || truth.client.all("broken") === 0),
    "lastSpawnError.message": (truth, value: string, at) =>
      value.includes(pooledName(truth, at) === "broken" ? "it is broken" : "it died "),
    "lastSpawnError.agoMs": isFinite,
    pauseMs: (truth, value: number | null, at) =>
      ofPooled("spawn_pause_seconds", {}, 1 / 1000)(truth, (value ?? 0) as never, at),
  }),
  ...below("pool.applications[].instances[].", {
    pid: (truth, pid: number, at) => truth.pids.get(pooledName(truth, at))?.includes(pid),
    state: (truth, value, at) =>
      value === (pooledName(truth, at) === "shop" && truth.underWay > 0 ? "busy" : "idle"),
    concurrency: (truth, value: number, at) => (value === 1) === (pooledName(truth, at) === "shop"),
    sessions: ofPooled("sessions"),
    closing: is0,
    keptSessions: ofPooled("kept_sessions"),
    longSessions: is0,
    oldestSessionMs: (truth, value: number | null, at) =>
      (value === null) === (instance(truth, at)?.sessions === 0),
    served: (truth, value: number) => value <= counters(truth).sessionsClosed,
    requests: (truth, value: number, at) => value <= requests(truth, pooledName(truth, at)) + 3,
    worn: isNull,
    // From when it was ready: it had been started before.
    ageMs: ({ startedMs }, value: number) => value > 0 && value < performance.now() - startedMs,
    unusedMs: (truth, value: number, at) =>
      value >= 0 && value <= (instance(truth, at)?.ageMs ?? 0),
  }),
};

/** The log says why a process has left, whatever reasons there are. */
function memberAt(path: string): Member | undefined {
  const [, reason] = /^pool\.counters\.retirements\.(\w+)$/.exec(path) ?? [];
  return reason === undefined ? members[path] : as("exits", { reason });
}

/** Compares each member of the status, however deep. */
export function compareStatus(truth: Truth): void {
  const visit = (value: unknown, path: string, at: readonly number[]): void => {
    if (Array.isArray(value)) {
      for (const [index, one] of value.entries()) visit(one, `${path}[]`, [...at, index]);
    } else if (typeof value === "object" && value !== null) {
      for (const [key, one] of Object.entries(value)) {
        visit(one, path === "" ? key : `${path}.${key}`, at);
      }
    } else {
      const isRight = memberAt(path)?.(truth, value as never, at);
      expect([path, at, value, isRight]).toEqual([path, at, value, true]);
    }
  };
  visit(truth.status, "", []);
}

/** Compares each column of the table, for an application that has processes. */
export function compareTable({ status, underWay, pids, client, left }: Truth, text: string): void {
  const time = "([\\d.]+ m?s)";
  const counts = "(\\d+) +(\\d+) +(\\d+) +([\\d.]+)";
  const columns = `${counts} +${time} +${time} +(\\d+) % +(\\d+) MiB +(\\d+)`;
  const [, proc, busy, wait, rate, p50, p99, cpu, memory, restarts] =
    new RegExp(`^shop +${columns}`, "m").exec(text) ?? expect.unreachable(text);
  const shop = pids.get("shop") ?? [];
  expect([proc, busy, wait].map(Number)).toEqual([
    shop.length,
    underWay,
    underWay > 0 ? (status.pool?.waiting ?? -1) : 0,
  ]);
  expect(Number(rate)).toBeGreaterThan(0);
  expect(Number(rate)).toBeLessThanOrEqual(client.all("shop") + left);
  const ms = [p50, p99].map(
    (said = "") => Number.parseFloat(said) * (said.endsWith(" s") ? 1000 : 1),
  );
  expect(ms[0]).toBeLessThanOrEqual(ms[1] ?? 0);
  expect(Number(cpu)).toBeLessThanOrEqual(110);
  expect(near(Number(memory), sum(shop.map((pid) => residentBytes(pid))) / 2 ** 20, 0.2)).toBe(
    true,
  );
  expect(Number(restarts)).toBe(underWay > 0 ? 0 : 1);
}
