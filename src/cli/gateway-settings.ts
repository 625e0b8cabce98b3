/**
 * What a gateway can be told, whether by a file or by the command line: reads it, fills the
 * defaults in, and checks what belongs together. docs/serve.md lists the same keys for people.
 */
import type { AccessForm, GatewayConfig, ListenAddress } from "../gateway/config.ts";
import { lineMaker } from "../gateway/log/access-log.ts";
import { TrustedProxies } from "../gateway/policy/trusted-proxies.ts";
import { findUser } from "../native/process.ts";
import { causeText } from "../wire/cause.ts";
import { MAX_IDLE_SECONDS, MAX_POOL_SIZE } from "../wire/commands.ts";
import { readApps } from "./app-settings.ts";
import { Table, type Problem } from "./config-table.ts";
import { type ListenUsage, readListenAddress } from "./listen-address.ts";
import { readTls } from "./tls-settings.ts";

const hourMs = 3_600_000;
const gib = 2 ** 30;

/** Enough for one processor: applications have processes of their own. */
const defaultWorkers = 1;
const maxWorkers = 256;

export type Settings = Readonly<Record<string, unknown>>;

/**
 * @param directory what relative paths start from.
 * @returns the configuration, or all that is wrong with it, in the order of reading.
 */
export function readSettings(settings: Settings, directory: string): GatewayConfig | Problem[] {
  const problems: Problem[] = [];
  const top = new Table(settings, { directory, problems });
  const workers = top.whole("workers", { min: 1, max: maxWorkers }, defaultWorkers);
  const taken = new Set<string>();
  const { listen, tls } = readAddresses(top, taken);
  const log = top.table("log");
  const accessLogFile = log.path("access_file");
  const pool = readPool(top.table("pool"));
  const upgradedMs = top.time("upgraded_time", { min: 0, max: 24 * hourMs }, 60_000);
  const config: GatewayConfig = {
    name: readGatewayName(top),
    listen,
    tls,
    admin: readAdmin(top, taken),
    workers,
    workerUser: readWorkerUser(top),
    limits: readLimits(top.table("limits")),
    pool,
    trustedProxies: readProxies(top),
    accessLog: readAccessForm(log),
    accessLogFile,
    drainMs: top.time("drain_time", { min: 0, max: hourMs }, 30_000),
    silenceMs: readSilence(top),
    upgradedMs,
    logLevel: log.whole("level", { min: 0, max: 4 }, 0),
    logFormat: log.word("format", ["text", "json"], "text"),
    apps: readApps(top, log, { maxQueue: pool.maxQueue, upgradedMs }),
  };
  log.finish();
  top.finish();
  return problems.length === 0 ? config : problems;
}

/** With less, what only has much to do would be killed and replaced without end. */
const leastSilenceMs = 1000;

function readSilence(top: Table): number {
  const ms = top.timeOrOff("silence_time", hourMs, 10_000);
  if (ms > 0 && ms < leastSilenceMs) {
    top.wrong("silence_time", "is less than 1s; 0s is no limit");
  }
  return ms;
}

/** So that commands can name one of several gateways. */
function readGatewayName(top: Table): string {
  const name = top.text("name", "");
  if (name === "" || /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  top.wrong("name", `'${name}' must be a letter, then letters, digits and . _ -`);
  return "";
}

/** `access`, or in its place `access_format` or `access_fields`. */
function readAccessForm(log: Table): AccessForm {
  const form = log.word("access", ["common", "json", "off"], "common");
  const format = log.text("access_format");
  const fields = log.texts("access_fields", 1);
  const given = ["access", "access_format", "access_fields"].filter((key) => log.has(key));
  const [key = "", other] = given;
  if (other !== undefined) log.wrong(other, `is given beside '${key}': leave one out`);
  const chosen = format !== undefined ? { format } : log.has("access_fields") ? { fields } : form;
  const mistake = mistakeIn(() => lineMaker(chosen));
  if (mistake !== undefined) log.wrong(given.at(-1) ?? "", mistake);
  return chosen;
}

/** Whom workers run as if nobody says: users that own nothing, the first there is. */
const defaultWorkerUsers = ["www-data", "nobody"];

function readWorkerUser(top: Table): string | undefined {
  const user = top.text("worker_user");
  if (user === undefined) {
    if (top.has("worker_user") || process.geteuid?.() !== 0) return undefined;
    return defaultWorkerUsers.find((name) => findUser(name) !== undefined);
  }
  if (findUser(user) === undefined) {
    top.wrong("worker_user", `'${user}' is not known on this system`);
  } else if (process.geteuid?.() !== 0) {
    top.wrong("worker_user", "only root can run workers as somebody else");
  }
  return user;
}

function readAddresses(top: Table, taken: Set<string>): Pick<GatewayConfig, "listen" | "tls"> {
  const unixMode = top.permissions("unix_mode", "0660");
  const listen = readListen(top, { tls: false, unixMode, taken });
  const section = top.table("tls");
  const secure = readListen(section, { tls: true, unixMode, taken });
  const tls = top.has("tls") ? readTls(section, secure) : undefined;
  section.finish();
  const all = [...listen, ...secure];
  const isDefault = !top.has("listen") && secure.length === 0;
  return { listen: isDefault ? [defaultAddress] : all, tls };
}

/** Whoever reaches it sees figures: so it is for this machine alone. */
function readAdmin(top: Table, taken: Set<string>): ListenAddress | undefined {
  const section = top.table("admin");
  const text = section.text("listen");
  const unixMode = section.permissions("unix_mode", "0600");
  section.finish();
  if (top.has("admin") && !section.has("listen")) section.wrong("listen", "is missing");
  if (text === undefined) return undefined;
  const address = readListenAddress(section, text, { tls: false, unixMode, taken });
  const isOwn = address?.kind !== "tcp" || /^127\.|^::1$/.test(address.host);
  if (!isOwn) section.wrong("listen", `'${text}' is not of this machine alone, as 127.0.0.1 is`);
  return address;
}

const defaultAddress: ListenAddress = { kind: "tcp", host: "127.0.0.1", port: 8080, tls: false };

function readListen(table: Table, usage: ListenUsage): ListenAddress[] {
  return table.texts("listen", 1).flatMap((text) => readListenAddress(table, text, usage) ?? []);
}

function readLimits(table: Table): GatewayConfig["limits"] {
  const limits = {
    maxHeaderBytes: table.size("max_header_size", { min: 1024, max: 128 * 1024 }, 16 * 1024),
    maxBodyBytes: table.size("max_body_size", { min: 0, max: 1024 * gib }, 0),
    headMs: table.timeOrOff("head_time", hourMs, 30_000),
    idleMs: table.timeOrOff("idle_time", 24 * hourMs, 60_000),
    queueMs: table.timeOrOff("queue_time", hourMs, 60_000),
    responseMs: table.timeOrOff("response_time", 24 * hourMs, 0),
  };
  table.finish();
  return limits;
}

/** 68 years, for "off": with 0 a process goes as soon as it is idle, as it always was. */
const maxIdleMs = MAX_IDLE_SECONDS * 1000;

export function readPool(table: Table): GatewayConfig["pool"] {
  const pool = {
    max: table.whole("max", { min: 1, max: MAX_POOL_SIZE }, 20),
    maxPerApp: table.whole("max_per_app", { min: 0, max: MAX_POOL_SIZE }, 0),
    // Upwards: 0 has another meaning than what is short.
    maxIdleSeconds: Math.ceil(
      table.timeOrOff("max_idle_time", maxIdleMs, 120_000, maxIdleMs) / 1000,
    ),
    maxQueue: table.whole("max_queue", { min: 0, max: 1_000_000 }, 0),
    globalQueue: table.flag("global_queue", true),
  };
  table.finish();
  return pool;
}

function readProxies(top: Table): string[] {
  const proxies = top.texts("trusted_proxies", 0);
  for (const entry of proxies) {
    const mistake = mistakeIn(() => new TrustedProxies([entry]));
    if (mistake !== undefined) top.wrong("trusted_proxies", mistake);
  }
  return proxies;
}

function mistakeIn(make: () => unknown): string | undefined {
  try {
    make();
    return undefined;
  } catch (error) {
    return causeText(error);
  }
}
