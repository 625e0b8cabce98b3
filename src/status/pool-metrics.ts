/**
 * A pool's metrics: which figures there are and what they are called. Names follow the field's
 * (processes, sessions, waiters) after the prefix `application_pool_`; times are seconds. An
 * application's label is its root, in a form that no two roots share. There is no label for a
 * process: pids would make a new series with each spawn.
 */

import { escapeForLog, fromBytes, fromText } from "../wire/bytes.ts";
import type { InspectedApplication, InspectedInstance, Inspection } from "../wire/inspection.ts";
import { byLabel, counter, gauge, type Family, type Sample } from "./metric-text.ts";

export const METRIC_PREFIX = "application_pool_";

/** @param names of applications by their roots; one without a name goes by its root. */
export function poolMetrics(
  pool: Inspection,
  names: ReadonlyMap<string, string> = new Map(),
): Family[] {
  return [
    ...limitFamilies(pool),
    ...poolFamilies(pool),
    ...applicationFamilies(pool.applications, names),
    ...counterFamilies(pool),
  ];
}

function limitFamilies({ limits }: Inspection): Family[] {
  return [
    gauge("max_processes", "Limit of processes in the pool.", limits.max),
    gauge("max_processes_per_app", "The same for one application; 0: none.", limits.maxPerApp),
    gauge("max_idle_seconds", "Processes idle for longer are let go.", limits.maxIdleMs / 1_000),
    gauge("global_queue", "1 if requests wait in the pool only.", Number(limits.useGlobalQueue)),
  ];
}

function poolFamilies({ count, active, waiting, oldestWaiterMs, counters }: Inspection): Family[] {
  const oldest = "How long the first get in line has waited; 0: none waits.";
  return [
    gauge("current_processes", "Processes in the pool.", count),
    gauge("active_processes", "Processes in the pool that have a session.", active),
    gauge("top_level_queue", "Gets that wait, of all applications.", waiting),
    gauge("oldest_waiter_seconds", oldest, (oldestWaiterMs ?? 0) / 1_000),
    gauge("peak_processes", "Most processes so far.", counters.peakCount),
    gauge("peak_active_processes", "Most processes with a session so far.", counters.peakActive),
    gauge("peak_waiters", "Most waiting gets so far.", counters.peakWaiting),
  ];
}

const states: readonly InspectedInstance["state"][] = ["idle", "active", "busy", "leaving", "dead"];

function applicationFamilies(
  applications: readonly InspectedApplication[],
  names: ReadonlyMap<string, string>,
): Family[] {
  const labelled = applications.map((one) => ({ one, app: names.get(one.root) ?? labelOf(one) }));
  const perApp = (valueOf: (application: InspectedApplication) => number): Sample[] =>
    labelled.map(({ one, app }) => ({ labels: { app }, value: valueOf(one) }));
  const processes = labelled.flatMap(({ one, app }) => processSamples(one, app));
  const sessions = perApp((one) => sumOf(one, "sessions"));
  const kept = perApp((one) => sumOf(one, "keptSessions"));
  const waiters = perApp(({ waiting }) => waiting);
  const pauses = perApp(({ pauseMs }) => (pauseMs ?? 0) / 1_000);
  const spawned = labelled.flatMap(({ one: { counters }, app }) => [
    { labels: { app, result: "ok" }, value: counters.spawnsDone },
    { labels: { app, result: "failed" }, value: counters.spawnsFailed },
  ]);
  const restarts = perApp(({ counters }) => counters.restarts);
  const deaths = perApp(({ counters }) => counters.deaths);
  const ofPauses = "What is left of the pause after failed spawns; 0: no pause.";
  const ofProcesses = "Processes by application and state; spawning: a place held by a spawn.";
  return [
    gauge("processes", ofProcesses, processes),
    gauge("sessions", "Open sessions by application.", sessions),
    gauge("kept_sessions", "Those of them that clients may keep for further requests.", kept),
    gauge("waiters", "Waiting gets by application.", waiters),
    gauge("spawn_pause_seconds", ofPauses, pauses),
    counter("app_spawns", "Spawns that have ended, by application and result.", spawned),
    counter("app_restarts", "Restarts by application.", restarts),
    counter("app_deaths", "Processes that died by themselves, by application.", deaths),
  ];
}

function sumOf({ instances }: InspectedApplication, key: "sessions" | "keptSessions"): number {
  return instances.reduce((sum, instance) => sum + instance[key], 0);
}

/** One sample for each state, also of 0, so that a series does not come and go. */
function processSamples(application: InspectedApplication, app: string): Sample[] {
  const counts = new Map<InspectedInstance["state"], number>();
  for (const { state } of application.instances) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [
    ...states.map((state) => ({ labels: { app, state }, value: counts.get(state) ?? 0 })),
    { labels: { app, state: "spawning" }, value: application.spawns.length },
  ];
}

function counterFamilies({ counters }: Inspection): Family[] {
  const { grants, grantsOfBusy, refusals, recalls } = counters;
  const granted = { idle: grants - grantsOfBusy, busy: grantsOfBusy };
  const rejected = {
    queue_full: refusals.queueFull,
    timed_out: refusals.timedOut,
    spawn_failed: refusals.spawnFailed,
    cannot_connect: refusals.cannotConnect,
  };
  const spawned = { ok: counters.spawnsDone, failed: counters.spawnsFailed };
  const answered = { close: recalls.closed, keep: recalls.kept, none: recalls.timedOut };
  return [
    counter("gets", "Gets received.", counters.gets),
    counter(
      "grants",
      "Gets that got a session, by the process's state.",
      byLabel("process", granted),
    ),
    counter("waits", "Gets that had to wait.", counters.waits),
    counter("cancels", "Waiting gets that were withdrawn.", counters.cancels),
    counter("rejected", "Gets refused, by reason.", byLabel("reason", rejected)),
    counter("sessions_closed", "Sessions that have ended.", counters.sessionsClosed),
    counter("spawns_begun", "Spawns begun.", counters.spawnsBegun),
    counter("spawns", "Spawns that have ended, by result.", byLabel("result", spawned)),
    counter("restarts", "Restarts of an application.", counters.restarts),
    counter("clears", "Clears of the pool.", counters.clears),
    counter("exits", "Processes let go, by reason.", byLabel("reason", counters.retirements)),
    counter("deaths", "Processes that died by themselves.", counters.deaths),
    counter("connect_failures", "Connects to a process that failed.", counters.connectFailures),
    counter("moves", "Sessions moved away from a full backlog.", counters.moves),
    counter("recalls", "Kept sessions asked for.", recalls.sent),
    counter("recalls_answered", "Recalls that have ended, by answer.", byLabel("answer", answered)),
  ];
}

/**
 * The root as text in which backslashes, control characters and bytes that are no UTF-8 are
 * escaped: two roots never share a label, which would make the whole exposition invalid.
 */
function labelOf({ root, rootBase64 }: InspectedApplication): string {
  const bytes = rootBase64 === null ? undefined : fromBytes(Buffer.from(rootBase64, "base64"));
  if (bytes !== undefined) return escapeForLog(bytes, Infinity);
  // oxlint-disable-next-line no-control-regex -- they are what it escapes
  return root.replace(/[\\\x00-\x1f\x7f]/g, (character) => escapeForLog(fromText(character)));
}
