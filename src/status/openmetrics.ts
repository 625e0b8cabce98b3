/**
 * The pool's snapshot as OpenMetrics: which figures there are and what they are called. Names
 * follow the field's (processes, sessions, waiters) after the prefix `application_pool_`; times are
 * seconds. An application's label is its root, in a form that no two roots share. There is no label
 * for a process: pids would make a new series with each spawn.
 */

import type { ApplicationSnapshot, PoolSnapshot } from "../pool/types.ts";
import { escapeForLog, fromText, toText, type ByteString } from "../wire/bytes.ts";
import type { Family, Sample } from "./metric-text.ts";
import type { InspectedInstance } from "../wire/inspection.ts";

export const METRIC_PREFIX = "application_pool_";

/** What applications are called: by their roots; undefined: they have no name. */
export type NameOf = (root: ByteString) => string | undefined;

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
    seconds("max_idle_seconds", "Processes idle for longer are let go.", limits.maxIdleMs),
    gauge("global_queue", "1 if requests wait in the pool only.", Number(limits.useGlobalQueue)),
  ];
}

function poolFamilies(snapshot: PoolSnapshot): Family[] {
  const { counters } = snapshot;
  return [
    gauge("current_processes", "Processes in the pool.", snapshot.count),
    gauge("active_processes", "Processes in the pool that have a session.", snapshot.active),
    gauge("top_level_queue", "Gets that wait, of all applications.", snapshot.waiting),
    seconds(
      "oldest_waiter_seconds",
      "How long the first get in line has waited; 0: none waits.",
      snapshot.oldestWaiterMs ?? 0,
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
  return [
    {
      name: "processes",
      type: "gauge",
      help: "Processes by application and state; spawning: a place held by a spawn.",
      samples: labelled.flatMap(({ application, app }) => processSamples(application, app)),
    },
    {
      name: "sessions",
      type: "gauge",
      help: "Open sessions by application.",
      samples: perApp(({ instances }) => instances.reduce((sum, one) => sum + one.sessions, 0)),
    },
    {
      name: "kept_sessions",
      type: "gauge",
      help: "Those of them that clients may keep for further requests.",
      samples: perApp(({ instances }) => instances.reduce((sum, one) => sum + one.keptSessions, 0)),
    },
    {
      name: "waiters",
      type: "gauge",
      help: "Waiting gets by application.",
      samples: perApp(({ waiting }) => waiting),
    },
    {
      name: "spawn_pause_seconds",
      type: "gauge",
      unit: "seconds",
      help: "What is left of the pause after failed spawns; 0: no pause.",
      samples: perApp(({ pauseMs }) => (pauseMs ?? 0) / 1_000),
    },
    {
      name: "app_spawns",
      type: "counter",
      help: "Spawns that have ended, by application and result.",
      samples: labelled.flatMap(({ application: { counters }, app }) => [
        { labels: { app, result: "ok" }, value: counters.spawnsDone },
        { labels: { app, result: "failed" }, value: counters.spawnsFailed },
      ]),
    },
    {
      name: "app_restarts",
      type: "counter",
      help: "Restarts by application.",
      samples: perApp(({ counters }) => counters.restarts),
    },
    {
      name: "app_deaths",
      type: "counter",
      help: "Processes that died by themselves, by application.",
      samples: perApp(({ counters }) => counters.deaths),
    },
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
    labelledCounter("grants", "Gets that got a session, by the process's state.", "process", {
      idle: counters.grants - counters.grantsOfBusy,
      busy: counters.grantsOfBusy,
    }),
    counter("waits", "Gets that had to wait.", counters.waits),
    counter("cancels", "Waiting gets that were withdrawn.", counters.cancels),
    labelledCounter("rejected", "Gets refused, by reason.", "reason", {
      queue_full: refusals.queueFull,
      timed_out: refusals.timedOut,
      spawn_failed: refusals.spawnFailed,
      cannot_connect: refusals.cannotConnect,
    }),
    counter("sessions_closed", "Sessions that have ended.", counters.sessionsClosed),
    counter("spawns_begun", "Spawns begun.", counters.spawnsBegun),
    labelledCounter("spawns", "Spawns that have ended, by result.", "result", {
      ok: counters.spawnsDone,
      failed: counters.spawnsFailed,
    }),
    counter("restarts", "Restarts of an application.", counters.restarts),
    counter("clears", "Clears of the pool.", counters.clears),
    labelledCounter("exits", "Processes let go, by reason.", "reason", counters.retirements),
    counter("deaths", "Processes that died by themselves.", counters.deaths),
    counter("connect_failures", "Connects to a process that failed.", counters.connectFailures),
    counter("moves", "Sessions moved away from a full backlog.", counters.moves),
    counter("recalls", "Kept sessions asked for.", recalls.sent),
    labelledCounter("recalls_answered", "Recalls that have ended, by answer.", "answer", {
      close: recalls.closed,
      keep: recalls.kept,
      none: recalls.timedOut,
    }),
  ];
}

export function gauge(name: string, help: string, value: number): Family {
  return { name, type: "gauge", help, samples: [{ value }] };
}

function seconds(name: string, help: string, valueMs: number): Family {
  return { ...gauge(name, help, valueMs / 1_000), unit: "seconds" };
}

function counter(name: string, help: string, value: number): Family {
  return { name, type: "counter", help, samples: [{ value }] };
}

export function labelledCounter(
  name: string,
  help: string,
  label: string,
  values: Readonly<Record<string, number>>,
): Family {
  const samples = Object.entries(values).map(([of, value]) => ({ labels: { [label]: of }, value }));
  return { name, type: "counter", help, samples };
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
