/**
 * The pool's snapshot as OpenMetrics: which figures there are and what they are called. Names
 * follow the field's (processes, sessions, waiters) after the prefix `application_pool_`; times are
 * seconds. An application's label is its root, in a form that no two roots share. There is no label
 * for a process: pids would make a new series with each spawn.
 */

import type { ApplicationSnapshot, PoolSnapshot } from "../pool/types.ts";
import { escapeForLog, fromText, toText, type ByteString } from "../wire/bytes.ts";
import { byLabel, counter, gauge, type Family, type Sample } from "./metric-text.ts";
import type { InspectedInstance } from "../wire/inspection.ts";

export const METRIC_PREFIX = "application_pool_";

/** What applications are called: by their roots; undefined: they have no name. */
type NameOf = (root: ByteString) => string | undefined;

/** The families of a pool. An application without a name goes by its root. */
export function poolMetrics(snapshot: PoolSnapshot, nameOf: NameOf = () => undefined): Family[] {
  return [
    ...limitFamilies(snapshot),
    ...poolFamilies(snapshot),
    ...applicationFamilies(snapshot.applications, nameOf),
    ...counterFamilies(snapshot),
  ];
}

function limitFamilies({ limits }: PoolSnapshot): Family[] {
  return [
    gauge("max_processes", "Limit of processes in the pool.", limits.max),
    gauge("max_processes_per_app", "The same for one application; 0: none.", limits.maxPerApp),
    gauge("max_idle_seconds", "Processes idle for longer are let go.", limits.maxIdleMs / 1_000),
    gauge("global_queue", "1 if requests wait in the pool only.", Number(limits.useGlobalQueue)),
  ];
}

function poolFamilies(snapshot: PoolSnapshot): Family[] {
  const { counters } = snapshot;
  return [
    gauge("current_processes", "Processes in the pool.", snapshot.count),
    gauge("active_processes", "Processes in the pool that have a session.", snapshot.active),
    gauge("top_level_queue", "Gets that wait, of all applications.", snapshot.waiting),
    gauge(
      "oldest_waiter_seconds",
      "How long the first get in line has waited; 0: none waits.",
      (snapshot.oldestWaiterMs ?? 0) / 1_000,
    ),
    gauge("peak_processes", "Most processes so far.", counters.peakCount),
    gauge("peak_active_processes", "Most processes with a session so far.", counters.peakActive),
    gauge("peak_waiters", "Most waiting gets so far.", counters.peakWaiting),
  ];
}

const states: readonly InspectedInstance["state"][] = ["idle", "active", "busy", "leaving", "dead"];

function applicationFamilies(
  applications: readonly ApplicationSnapshot[],
  nameOf: NameOf,
): Family[] {
  const labelled = applications.map((application) => ({
    application,
    app: nameOf(application.root) ?? labelOf(application.root),
  }));
  const perApp = (valueOf: (application: ApplicationSnapshot) => number): Sample[] =>
    labelled.map(({ application, app }) => ({ labels: { app }, value: valueOf(application) }));
  const spawned = labelled.flatMap(({ application: { counters }, app }) => [
    { labels: { app, result: "ok" }, value: counters.spawnsDone },
    { labels: { app, result: "failed" }, value: counters.spawnsFailed },
  ]);
  return [
    gauge(
      "processes",
      "Processes by application and state; spawning: a place held by a spawn.",
      labelled.flatMap(({ application, app }) => processSamples(application, app)),
    ),
    gauge(
      "sessions",
      "Open sessions by application.",
      perApp(({ instances }) => instances.reduce((sum, one) => sum + one.sessions, 0)),
    ),
    gauge(
      "kept_sessions",
      "Those of them that clients may keep for further requests.",
      perApp(({ instances }) => instances.reduce((sum, one) => sum + one.keptSessions, 0)),
    ),
    gauge(
      "waiters",
      "Waiting gets by application.",
      perApp(({ waiting }) => waiting),
    ),
    gauge(
      "spawn_pause_seconds",
      "What is left of the pause after failed spawns; 0: no pause.",
      perApp(({ pauseMs }) => (pauseMs ?? 0) / 1_000),
    ),
    counter("app_spawns", "Spawns that have ended, by application and result.", spawned),
    counter(
      "app_restarts",
      "Restarts by application.",
      perApp(({ counters }) => counters.restarts),
    ),
    counter(
      "app_deaths",
      "Processes that died by themselves, by application.",
      perApp(({ counters }) => counters.deaths),
    ),
  ];
}

/** One sample for each state, also of 0, so that a series does not come and go. */
function processSamples(application: ApplicationSnapshot, app: string): Sample[] {
  const counts = new Map<InspectedInstance["state"], number>();
  for (const { state } of application.instances) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [
    ...states.map((state) => ({ labels: { app, state }, value: counts.get(state) ?? 0 })),
    { labels: { app, state: "spawning" }, value: application.spawns.length },
  ];
}

function counterFamilies({ counters }: PoolSnapshot): Family[] {
  const { refusals, recalls } = counters;
  return [
    counter("gets", "Gets received.", counters.gets),
    counter(
      "grants",
      "Gets that got a session, by the process's state.",
      byLabel("process", {
        idle: counters.grants - counters.grantsOfBusy,
        busy: counters.grantsOfBusy,
      }),
    ),
    counter("waits", "Gets that had to wait.", counters.waits),
    counter("cancels", "Waiting gets that were withdrawn.", counters.cancels),
    counter(
      "rejected",
      "Gets refused, by reason.",
      byLabel("reason", {
        queue_full: refusals.queueFull,
        timed_out: refusals.timedOut,
        spawn_failed: refusals.spawnFailed,
        cannot_connect: refusals.cannotConnect,
      }),
    ),
    counter("sessions_closed", "Sessions that have ended.", counters.sessionsClosed),
    counter("spawns_begun", "Spawns begun.", counters.spawnsBegun),
    counter(
      "spawns",
      "Spawns that have ended, by result.",
      byLabel("result", {
        ok: counters.spawnsDone,
        failed: counters.spawnsFailed,
      }),
    ),
    counter("restarts", "Restarts of an application.", counters.restarts),
    counter("clears", "Clears of the pool.", counters.clears),
    counter("exits", "Processes let go, by reason.", byLabel("reason", counters.retirements)),
    counter("deaths", "Processes that died by themselves.", counters.deaths),
    counter("connect_failures", "Connects to a process that failed.", counters.connectFailures),
    counter("moves", "Sessions moved away from a full backlog.", counters.moves),
    counter("recalls", "Kept sessions asked for.", recalls.sent),
    counter(
      "recalls_answered",
      "Recalls that have ended, by answer.",
      byLabel("answer", {
        close: recalls.closed,
        keep: recalls.kept,
        none: recalls.timedOut,
      }),
    ),
  ];
}

/**
 * The root as text in which backslashes, control characters and bytes that are no UTF-8 are
 * escaped: two roots never share a label, which would make the whole exposition invalid.
 */
function labelOf(root: ByteString): string {
  const text = toText(root);
  if (fromText(text) !== root) return escapeForLog(root, root.length);
  // oxlint-disable-next-line no-control-regex -- they are what it escapes
  return text.replace(/[\\\x00-\x1f\x7f]/g, (character) => escapeForLog(fromText(character)));
}
