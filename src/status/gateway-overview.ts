/**
 * A gateway and its pool at one moment, for people: who serves where, and what each application's
 * processes do. Texts come from operators and applications: control characters are escaped.
 */
import type { ApplicationSnapshot, PoolSnapshot } from "../pool/types.ts";
import { escapeControls, fromText, toText } from "../wire/bytes.ts";
import type { InspectedInstance } from "../wire/inspection.ts";
import { MAX_CONCURRENCY } from "../wire/instance-protocol.ts";

/** What is shown of the gateway beside the pool. */
export interface GatewayFacts {
  readonly pid: number;
  readonly listening: readonly string[];
  readonly workers: readonly number[];
  readonly poolServer: number | null;
  readonly applications: readonly { readonly name: string; readonly root: string }[];
}

export function gatewayOverview(gateway: GatewayFacts, pool: PoolSnapshot | undefined): string {
  const lines = [
    `Gateway ${gateway.pid}: ${gateway.listening.join(", ")}`,
    `  workers      ${gateway.workers.join(" ") || "none"}`,
    `  pool server  ${gateway.poolServer ?? "none"}`,
  ];
  if (pool === undefined) return `${lines.join("\n")}\n\nThe pool server does not answer.\n`;
  lines.push("", poolLine(pool), waitLine(pool));
  for (const { name, root } of gateway.applications) {
    const found = pool.applications.find((application) => application.root === fromText(root));
    lines.push("", printable(`${name}  ${root}`), ...applicationLines(found));
  }
  return `${lines.join("\n")}\n`;
}

function poolLine({ limits, count, active, spawning, leaving }: PoolSnapshot): string {
  return (
    `Pool: ${count} of ${limits.max} processes, ${active} active, ` +
    `${spawning} being started, ${leaving} leaving`
  );
}

function waitLine({ waiting, oldestWaiterMs, counters }: PoolSnapshot): string {
  const oldest = oldestWaiterMs === null ? "" : `, the first for ${duration(oldestWaiterMs)}`;
  const { spawnsDone, spawnsFailed, deaths } = counters;
  return (
    `Requests waiting: ${waiting}${oldest}. ` +
    `Started ${spawnsDone}, failed to start ${spawnsFailed}, died ${deaths}`
  );
}

function applicationLines(application: ApplicationSnapshot | undefined): string[] {
  if (application === undefined) return ["  not started"];
  const { instances, spawns, waiting, lastSpawnError, pauseMs } = application;
  const lines = instances.map((instance) => instanceLine(instance));
  for (const { state, ageMs } of spawns) {
    lines.push(`  ${state === "begun" ? "starting" : "to be started"} for ${duration(ageMs)}`);
  }
  if (waiting > 0) lines.push(`  ${waiting} waiting`);
  if (lastSpawnError !== null) {
    const { message, agoMs } = lastSpawnError;
    lines.push(`  could not be started ${duration(agoMs)} ago: ${printable(message)}`);
  }
  if (pauseMs !== null) lines.push(`  is tried again in ${duration(pauseMs)}`);
  return lines.length === 0 ? ["  not started"] : lines;
}

function instanceLine(instance: InspectedInstance): string {
  const { pid, state, sessions, closing, longSessions, concurrency, served, ageMs, unusedMs } =
    instance;
  // Who takes any number is full at no number.
  const most = concurrency === MAX_CONCURRENCY ? "" : ` of ${concurrency}`;
  return (
    `  PID ${String(pid).padEnd(8)}${state.padEnd(9)}` +
    `${sessions - longSessions + closing}${most} at once`.padEnd(20) +
    `served ${served}`.padEnd(16) +
    `runs ${duration(ageMs)}, unused ${duration(unusedMs)}` +
    (longSessions === 0 ? "" : `, ${longSessions} upgraded`)
  );
}

function printable(text: string): string {
  return toText(escapeControls(fromText(text)));
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
