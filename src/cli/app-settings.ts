/** The applications of a gateway's configuration: each by itself, and that they get along. */
import { statSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import type { AppConfig } from "../gateway/config.ts";
import { isSurelyAbsent, lookCached } from "../native/look.ts";
import { isLocalDevice, mayFilesHang } from "../native/mounts.ts";
import { findUser } from "../native/process.ts";
import { maxSocketPath } from "../native/socket.ts";
import { fromText, type ByteString } from "../wire/bytes.ts";
import {
  type InstanceOptions,
  MAX_QUEUE,
  MAX_REQUEST_TIMEOUT_MS,
  MAX_SPAWN_TIMEOUT_MS,
  MAX_THREADS,
  MAX_WEIGHT,
} from "../wire/configure.ts";
import { MAX_CONCURRENCY } from "../wire/instance-protocol.ts";
import type { OutputPlace } from "../wire/output-place.ts";
import type { Table } from "./config-table.ts";
import { mistakeInPath, readFilePlaces } from "./file-places.ts";
import { readHosts } from "./host-names.ts";
import { readKernelLimits } from "./kernel-settings.ts";
import { readProgram, readReadiness } from "./program-settings.ts";
import { readUpkeep } from "./upkeep-settings.ts";

const appTypes: readonly AppConfig["type"][] = [
  ...(["auto", "rack", "wsgi", "asgi", "node", "bun", "command", "static", "rails"] as const),
];

/** Linux takes no longer variable, its name, `=` and NUL included (execve(2), MAX_ARG_STRLEN). */
const maxVariableBytes = 128 * 1024;
/**
 * Of one application. Each byte takes up to six in the plan of a launch, and all that is told to a
 * new program fits 2 MiB as a rule (spawn/launch-plan.ts).
 */
const maxVariablesBytes = 256 * 1024;
/** What the pool server keeps (server/configured-applications.ts). */
const maxApps = 10_000;

/** The kinds that need a thread for each request. */
const withThreads: readonly AppConfig["type"][] = ["rack", "rails", "wsgi"];

/** What is about processes: of an application without any it would be a promise to nobody. */
const keysOfProcesses = [
  "startup_file app args cwd interpreter umask env env_file user spawn_method spawn_timeout",
  "ready_path ready_timeout restart_mode instances max_instances min_instances idle_time",
  "max_requests max_age max_memory hard_memory memory_max cpu_weight tasks_max limits sticky",
  "concurrency threads weight max_queue abandon_timeout request_timeout slow_request log",
].flatMap((keys) => keys.split(" "));

/** Reads `[[apps]]`, with what the whole and `[log]` say of all of them as defaults. */
export function readApps(
  top: Table,
  log: Table,
  { maxQueue, upgradedMs }: Pick<Defaults, "maxQueue" | "upgradedMs">,
): AppConfig[] {
  const environment = readEnvironment(top, "production");
  const type = top.word("type", appTypes, "auto");
  if (!top.has("apps")) top.wrong("apps", "is missing: there is no application");
  const tables = top.tables("apps");
  if (tables.length > maxApps) top.wrong("apps", `are ${tables.length}; ${maxApps} at most`);
  const threads = top.whole("threads", { min: 0, max: MAX_THREADS }, 0);
  const defaults = { environment, type, threads, maxQueue, upgradedMs };
  const apps = tables.map((table) => readApp(table, defaults));
  refuseIfNoneIsThere(tables, apps);
  refuseDuplicates(tables, apps);
  return withUsualLogs(log, tables, apps);
}

/** Those without a log of their own have that of `[log]`; what shares processes shares it. */
function withUsualLogs(
  log: Table,
  tables: readonly Table[],
  apps: readonly AppConfig[],
): AppConfig[] {
  const usual = log.text("applications") ?? "stderr";
  if (usual !== "stderr" && !/^journald(:|$)|\{app\}/.test(usual)) {
    log.wrong("applications", `is '${usual}', neither journald nor a file with {app} in its name`);
    return [...apps];
  }
  const names = new Map(apps.toReversed().map(({ root, name }) => [root, name]));
  return apps.map((app, index) => {
    if (app.type === "static" || tables[index]?.has("log") === true) return app;
    // No name leads to another directory.
    const name = names.get(app.root)?.replaceAll("/", "_") ?? app.name;
    const place = usual.replaceAll("{app}", name);
    return { ...app, log: readLog(log, "applications", place, app.name) };
  });
}

/** What holds for an application that does not say otherwise. */
interface Defaults {
  readonly environment: string;
  readonly type: AppConfig["type"];
  /** 0: as is usual. */
  readonly threads: number;
  readonly maxQueue: number;
  readonly upgradedMs: number;
}

function readApp(table: Table, defaults: Defaults): AppConfig {
  const root = readRoot(table);
  const environment = readEnvironment(table, defaults.environment);
  const name = readName(table, root);
  const program = readProgram(table, root);
  const type = readType(table, defaults.type, program.command !== undefined);
  for (const key of type === "static" ? keysOfProcesses : []) {
    if (table.has(key)) table.wrong(key, "is for processes, and type static has none");
  }
  const slowRequestMs = table.timeOrOff("slow_request", MAX_REQUEST_TIMEOUT_MS, 0);
  const app: AppConfig = {
    name,
    root,
    hosts: readHosts(table),
    prefix: readPrefix(table),
    type,
    environment,
    spawnMethod: table.word("spawn_method", ["smart", "conservative"], "smart"),
    options: {
      user: readUser(table),
      env: readVariables(table),
      ...program,
      ...readReadiness(table),
      ...readUpkeep(table),
      ...readKernelLimits(table),
      ...readConcurrency(table, type, defaults.threads),
      abandonTimeoutMs: table.timeOrOff("abandon_timeout", MAX_REQUEST_TIMEOUT_MS, 30_000),
      requestTimeoutMs: table.timeOrOff("request_timeout", MAX_REQUEST_TIMEOUT_MS, 0),
      upgradedTimeMs: defaults.upgradedMs,
      maxQueue: table.whole("max_queue", { min: 0, max: MAX_QUEUE }, defaults.maxQueue),
      weight: table.whole("weight", { min: 1, max: MAX_WEIGHT }, 1),
      spawnTimeoutMs: table.time("spawn_timeout", { min: 1, max: MAX_SPAWN_TIMEOUT_MS }, 90_000),
    },
    sticky: readSticky(table),
    ...(slowRequestMs === 0 ? {} : { slowRequestMs }),
    files: readFilePlaces(table, root, type !== "static" || hasPublic(root)),
    bufferRequests: table.flag("buffer_requests", true),
    bufferAnswers: table.flag("buffer_answers", true),
    // Backtraces are for whoever can act on them, not for visitors.
    showErrors: table.flag("show_errors", environment === "development"),
    log: readLog(table, "log", table.text("log") ?? "stderr", name),
  };
  table.finish();
  return app;
}

/** systemd-journald.service(8); namespaces have sockets of their own. */
const journalSocket = "/run/systemd/journal/socket";

/** `stderr`, `journald`, `journald:SOCKET`, or a file. */
function readLog(
  table: Table,
  key: string,
  text: string,
  identifier: string,
): OutputPlace | undefined {
  if (text === "stderr") return undefined;
  const [, journal] = /^journald(?::(.*))?$/s.exec(text) ?? [];
  if (text === "journald" || journal !== undefined) {
    const socket = table.resolve(journal ?? journalSocket);
    if (Buffer.byteLength(socket) > maxSocketPath || whatIsAt(socket) !== "socket") {
      table.wrong(key, `is ${text}, and there is no socket '${socket}'`);
    }
    return { journal: socket, identifier };
  }
  const file = table.resolve(text);
  const above = dirname(file);
  if (text === "") table.wrong(key, "is empty: leave it out");
  else if (["nothing", "file"].includes(whatIsAt(above))) {
    table.wrong(key, `is '${text}', and '${above}' is no directory`);
  }
  return { file };
}

/** A command needs no type beside it, but for one that contradicts it. */
function readType(
  table: Table,
  fallback: AppConfig["type"],
  hasCommand: boolean,
): AppConfig["type"] {
  const type = table.word("type", appTypes, hasCommand ? "command" : fallback);
  if (hasCommand && type !== "command") {
    table.wrong("type", `is ${type}, and there is a command: that is type command`);
  }
  if (type === "command" && !hasCommand && !table.has("command")) {
    table.wrong("command", "is missing: type command is the program that it names");
  }
  return type;
}

/**
 * Requests at once of one process: of Rack and WSGI `threads`, of the others `concurrency`. What is
 * `auto` may have either, and what does not fit the kind that is found says nothing.
 */
function readConcurrency(
  table: Table,
  type: AppConfig["type"],
  threadsOfAll: number,
): Pick<InstanceOptions, "concurrency" | "threads"> {
  const concurrency = table.whole("concurrency", { min: 0, max: MAX_CONCURRENCY }, 0);
  const usual = concurrency === 0 ? threadsOfAll : 0;
  const threads = table.whole("threads", { min: 0, max: MAX_THREADS }, usual);
  if (concurrency > 0 && withThreads.includes(type)) {
    table.wrong("concurrency", `is for kinds without threads; for ${type} it is 'threads'`);
  }
  if (table.has("threads") && threads > 0 && ![...withThreads, "auto", "static"].includes(type)) {
    table.wrong("threads", `is for rack and wsgi; for ${type} it is 'concurrency'`);
  }
  if (concurrency > 0 && threads > 0) {
    table.wrong("threads", "is given beside 'concurrency': leave one out");
  }
  return {
    concurrency: concurrency === 0 ? undefined : concurrency,
    threads: threads === 0 ? undefined : threads,
  };
}

function readSticky(table: Table): AppConfig["sticky"] {
  const word = table.word("sticky", [true, false, "cookie", "address"], false);
  return word === true ? "cookie" : word === false ? "off" : word;
}

function readUser(table: Table): string | undefined {
  const user = table.text("user");
  if (user === undefined) return undefined;
  const uid = findUser(user)?.uid;
  if (uid === undefined) table.wrong("user", `'${user}' is not known on this system`);
  else if (uid === 0) table.wrong("user", `'${user}' is root, as whom no application is run`);
  return user;
}

function readRoot(table: Table): string {
  const text = table.text("root");
  if (!table.has("root")) table.wrong("root", "is missing");
  if (text === "") table.wrong("root", "is empty: '.' is this directory");
  if (text === undefined) return "";
  const root = table.resolve(text);
  if (whatIsAt(root) === "file") table.wrong("root", `'${root}' is no directory`);
  return root;
}

/** Of a site: what holds until the configuration is read anew, so that no gap shows the rest. */
function hasPublic(root: string): boolean {
  return whatIsAt(root) !== "file" && whatIsAt(join(root, "public")) !== "nothing";
}

/** One that is gone keeps no others from being served, and it may come: a warning (serve.ts). */
function refuseIfNoneIsThere(tables: readonly Table[], apps: readonly AppConfig[]): void {
  if (apps.some(({ root }) => root === "" || whatIsAt(root) !== "nothing")) return;
  for (const [index, table] of tables.entries()) {
    table.wrong("root", `'${apps[index]?.root}' does not exist`);
  }
}

function whatIsAt(root: string): "directory" | "socket" | "file" | "nothing" | "unknown" {
  if (mayWait(fromText(root))) return "unknown";
  const found = statSync(root, { throwIfNoEntry: false });
  if (found === undefined) return "nothing";
  if (found.isSocket()) return "socket";
  return found.isDirectory() ? "directory" : "file";
}

/** Whether looking at it may: a dead mount keeps nobody from a reload. */
function mayWait(root: ByteString): boolean {
  if (!mayFilesHang() || isSurelyAbsent(root)) return false;
  const found = lookCached(root, "target");
  return typeof found === "string" || !isLocalDevice(found.device);
}

function readEnvironment(table: Table, fallback: string): string {
  const text = table.text("environment", fallback);
  if (/^[A-Za-z0-9_.-]{1,100}$/.test(text)) return text;
  table.wrong("environment", `is '${text}', not a name such as production`);
  return fallback;
}

/** A directory may have blanks in its name, a name in a log or after a command's words not. */
function readName(table: Table, root: string): string {
  const text = table.text("name", basename(root).replaceAll(/[\s\p{C}]+/gu, "-"));
  if (/^[^\s\p{C}]{1,100}$/u.test(text)) return text;
  if (root !== "") table.wrong("name", `'${text}' must be 1 to 100 characters without blanks`);
  return text;
}

function readPrefix(table: Table): string {
  const text = table.text("prefix", "/");
  const mistake = text === "/" ? undefined : mistakeInPath(text, /[?#%\s\p{C}]/u, "/shop");
  if (mistake !== undefined) table.wrong("prefix", mistake);
  return text;
}

function readVariables(table: Table): Record<string, string> {
  const section = table.table("env");
  const variables = section.allTexts();
  for (const name of Object.keys(variables)) {
    if (name === "" || name.includes("=")) section.wrong(name, "cannot be a variable's name");
  }
  const sizes = Object.entries(variables).map(([name, value]) => ({
    name,
    bytes: Buffer.byteLength(name) + 1 + Buffer.byteLength(value) + 1,
  }));
  for (const { name, bytes } of sizes) {
    if (bytes > maxVariableBytes) section.wrong(name, `has more than ${maxVariableBytes} bytes`);
  }
  if (sizes.reduce((sum, { bytes }) => sum + bytes, 0) > maxVariablesBytes) {
    table.wrong("env", `has more than ${maxVariablesBytes} bytes in all`);
  }
  return variables;
}

/**
 * Two applications of one name, or of one host and prefix: which one is meant? And the pool knows
 * an application by its root: two of one root share processes, so they have to agree on them.
 */
function refuseDuplicates(tables: readonly Table[], apps: readonly AppConfig[]): void {
  const names = new Map<string, string>();
  const routes = new Map<string, string>();
  const roots = new Map<string, { app: AppConfig; place: string }>();
  apps.forEach((app, index) => {
    const table = tables[index];
    if (table === undefined) return;
    const place = `apps[${index}]`;
    const named = names.get(app.name);
    if (named !== undefined && app.name !== "") {
      table.wrong("name", `'${app.name}' is the name of ${named} too`);
    }
    names.set(app.name, place);
    for (const host of app.hosts.length === 0 ? [""] : new Set(app.hosts)) {
      const route = `${host === "" ? "every host" : `host ${host}`}, prefix ${app.prefix}`;
      const taken = routes.get(route);
      if (taken !== undefined) {
        table.wrong(app.hosts.length === 0 ? "prefix" : "hosts", `${route}: ${taken} has it too`);
      }
      routes.set(route, place);
    }
    if (app.type === "static") return; // It has none.
    const twin = roots.get(app.root);
    if (twin === undefined) roots.set(app.root, { app, place });
    else if (app.root !== "" && !Bun.deepEquals(ofProcesses(app), ofProcesses(twin.app))) {
      table.wrong("root", `${twin.place} has it too, but other settings for its processes`);
    }
  });
}

/** What decides how an application's processes are started. */
function ofProcesses(app: AppConfig): object {
  const { type, environment, spawnMethod, options, log } = app;
  // Names differ, and so would identifiers.
  const place = log === undefined || "file" in log ? log : log.journal;
  return { type, environment, spawnMethod, options, place };
}
