/**
 * A gateway and its pool at one moment, for people: who serves where, a line for each application,
 * or the processes of one. Texts come from operators and applications: control characters are
 * escaped.
 */
import { printable } from "../wire/bytes.ts";
import type { ApplicationStatus, GatewayStatus } from "../wire/gateway-status.ts";
import type { InspectedApplication, InspectedInstance, Inspection } from "../wire/inspection.ts";
import { MAX_CONCURRENCY } from "../wire/instance-protocol.ts";
import { type Column, formatTable, wrapped } from "./text-table.ts";

/** What a process uses. */
export interface ProcessUsage {
  /** Of one processor, a moment ago. */
  readonly cpuPercent: number;
  readonly residentBytes: number;
}

/** Of processes by their numbers; those that cannot be looked at are missing. */
export type Usage = ReadonlyMap<number, ProcessUsage>;

/** A line for each application. @param owner ` of shop`, or empty: it is of who looks. */
export function gatewayOverview(
  gateway: GatewayStatus,
  owner: string,
  usage: Usage,
  width: number,
): string {
  const { pool } = gateway;
  if (pool === null) return `${head(gateway, owner, width)}\nThe pool server does not answer.\n`;
  const rows = gateway.applications.map((facts) =>
    applicationRow(facts, inPool(pool, facts), usage),
  );
  const table = formatTable(applicationColumns, rows, width);
  const ofPool = wrapped(poolLine(pool), width, "  ").join("\n");
  return `${head(gateway, owner, width)}${ofPool}\n\n${table}`;
}

/** The processes of one application. */
export function applicationOverview(
  facts: ApplicationStatus,
  pool: Inspection,
  usage: Usage,
  width: number,
): string {
  const application = inPool(pool, facts);
  const noted = notes(facts, application).flatMap((note) => wrapped(note, width, "    ", "  "));
  const lines = [printable(`${facts.name}  ${facts.root}`), ...noted];
  const rows = (application?.instances ?? []).map((instance) => instanceRow(instance, usage));
  const table = rows.length === 0 ? "" : `\n${formatTable(instanceColumns, rows, width)}`;
  return `${lines.join("\n")}\n${table}`;
}

function head(facts: GatewayStatus, owner: string, width: number): string {
  const { name, pid, version, listening, workers, poolServer, restarts } = facts;
  const who = name === "" ? String(pid) : `${name} ${pid}`;
  const processes = `workers ${workers.join(" ") || "none"}, pool server ${poolServer ?? "none"}`;
  const again = Object.entries(restarts).filter(([, count]) => count > 0);
  const replaced = again
    .map(([kind, count]) => `, ${kind} replaced ${count === 1 ? "once" : `${count} times`}`)
    .join("");
  const all = `${processes}, version ${version}`;
  const where = `Gateway ${who}${owner}: ${listening.join(", ")}`;
  const lines = [...wrapped(where, width, "  ", ""), ...wrapped(all + replaced, width, "  ")];
  return `${lines.join("\n")}\n`;
}

function poolLine({ limits, count, active, spawning, leaving, waiting }: Inspection): string {
  const others = [
    spawning > 0 ? `, ${spawning} being started` : "",
    leaving > 0 ? `, ${leaving} leaving` : "",
    waiting > 0 ? `, ${waiting} requests waiting` : "",
  ];
  return `${count} of ${limits.max} processes, ${active} active${others.join("")}`;
}

function inPool(
  { applications }: Inspection,
  { root }: ApplicationStatus,
): InspectedApplication | undefined {
  return applications.find((application) => application.root === root);
}

const applicationColumns = [
  { title: "APPLICATION" },
  ...numbers("PROC", "BUSY", "WAIT", "REQ/S", "P50", "P99", "CPU", "MEMORY", "RESTARTS"),
  { title: "STATE" },
];

function numbers(...titles: readonly string[]): Column[] {
  return titles.map((title) => ({ title, isNumber: true }));
}

function applicationRow(
  facts: ApplicationStatus,
  application: InspectedApplication | undefined,
  usage: Usage,
): string[] {
  const instances = application?.instances ?? [];
  const pids = instances.map(({ pid }) => pid);
  return [
    printable(facts.name),
    String(instances.length),
    // Whose visitor has left is under way in its process alone.
    String(facts.figures.underWay + instances.reduce((sum, { closing }) => sum + closing, 0)),
    String(application?.waiting ?? 0),
    rate(facts.figures.requestsPerSecond),
    time(facts.figures.p50Ms),
    time(facts.figures.p99Ms),
    ...usageOf(pids, usage),
    String(application?.counters.restarts ?? 0),
    notes(facts, withoutPast(application))[0] ?? "",
  ];
}

/** A failed start is no state of what has been started since. */
function withoutPast(application: InspectedApplication | undefined) {
  const { agoMs } = application?.lastSpawnError ?? { agoMs: 0 };
  const isPast = application?.instances.some(({ ageMs }) => ageMs < agoMs) === true;
  return isPast ? { ...application, lastSpawnError: null } : application;
}

const instanceColumns = [
  ...numbers("PID"),
  { title: "STATE" },
  ...numbers("AT ONCE", "REQUESTS", "CPU", "MEMORY", "AGE", "UNUSED", "OLDEST"),
  { title: "" },
];

function instanceRow(instance: InspectedInstance, usage: Usage): string[] {
  const { pid, state, sessions, closing, longSessions, concurrency, requests } = instance;
  const { ageMs, unusedMs, oldestSessionMs, worn } = instance;
  // Who takes any number is full at no number.
  const most = concurrency === MAX_CONCURRENCY ? "" : `/${concurrency}`;
  const marks = [
    longSessions > 0 ? `${longSessions} upgraded` : "",
    worn === null ? "" : `to be replaced: ${worn}`,
  ];
  return [
    String(pid),
    state,
    `${sessions - longSessions + closing}${most}`,
    String(requests),
    ...usageOf([pid], usage),
    duration(ageMs),
    duration(unusedMs),
    oldestSessionMs === null ? "-" : duration(oldestSessionMs),
    marks.filter((mark) => mark !== "").join(", "),
  ];
}

function usageOf(pids: readonly number[], usage: Usage): [cpu: string, memory: string] {
  const known = pids.flatMap((pid) => usage.get(pid) ?? []);
  if (known.length === 0) return ["-", "-"];
  const cpu = known.reduce((sum, { cpuPercent }) => sum + cpuPercent, 0);
  const bytes = known.reduce((sum, { residentBytes }) => sum + residentBytes, 0);
  return [`${Math.round(cpu)} %`, `${Math.round(bytes / 2 ** 20)} MiB`];
}

/** What is out of the ordinary, the most important first. */
function notes(facts: ApplicationStatus, application: InspectedApplication | undefined): string[] {
  const lines: string[] = [];
  if (facts.pause !== null) {
    lines.push(`paused: requests ${facts.pause === "wait" ? "wait" : "are refused"}`);
  }
  if (application === undefined) return lines;
  const { spawns, rollout, lastSpawnError, pauseMs } = application;
  const rollouts = { trying: "restarting", proven: "restarting", refused: "not restarted" };
  if (rollout !== null) lines.push(rollouts[rollout]);
  if (pauseMs !== null) lines.push(`is tried again in ${duration(pauseMs)}`);
  if (lastSpawnError !== null) {
    const { message, agoMs } = lastSpawnError;
    lines.push(`could not be started ${duration(agoMs)} ago: ${printable(message)}`);
  }
  for (const { state, ageMs } of spawns) {
    lines.push(`${state === "begun" ? "starting" : "to be started"} for ${duration(ageMs)}`);
  }
  return lines;
}

/** `0.05`, `1.2`, `340`. */
function rate(perSecond: number): string {
  if (perSecond === 0) return "0";
  return perSecond >= 10 ? String(Math.round(perSecond)) : String(Number(perSecond.toPrecision(2)));
}

/** `0.8 ms`, `340 ms`, `1.2 s`. */
function time(ms: number | null): string {
  if (ms === null) return "-";
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms >= 10 ? Math.round(ms) : Number(ms.toPrecision(2))} ms`;
}

/** `340 ms`, `12 s`, `5 min`, `3 h`, `2 d`. */
function duration(ms: number): string {
  const steps: [number, string][] = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "min"],
    [1000, "s"],
  ];
  const step = steps.find(([size]) => ms >= size);
  return step === undefined ? `${Math.round(ms)} ms` : `${Math.floor(ms / step[0])} ${step[1]}`;
}
