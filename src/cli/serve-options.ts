/**
 * The command line of `serve`. Its options say the same as keys of a configuration file, and are
 * checked by the same code; beside a file they overrule it.
 */
import { statSync } from "node:fs";
import { resolve, dirname } from "node:path";
import type { CommandDef } from "citty";

import type { GatewayConfig } from "../gateway/config.ts";
import type { Problem } from "./config-table.ts";
import { readSettingsFile } from "./gateway-file.ts";
import { readSettings, type Settings } from "./gateway-settings.ts";
import { readArguments, type Arguments } from "./options.ts";
import { ConfigurationError, UsageError } from "./usage-error.ts";

/** Options that are keys of the configuration: `--max` is `max` in `[pool]`. */
const keys: Readonly<Record<string, string>> = {
  listen: "listen",
  workers: "workers",
  environment: "environment",
  type: "type",
  threads: "threads",
  max: "pool.max",
  "max-per-app": "pool.max_per_app",
  "max-idle-time": "pool.max_idle_time",
  "max-queue": "pool.max_queue",
  "drain-time": "drain_time",
  admin: "admin.listen",
  "access-log": "log.access",
  "access-log-file": "log.access_file",
  "log-level": "log.level",
  "log-format": "log.format",
};

/** Options that are keys of the one application there is without a file. */
const keysOfApp: Readonly<Record<string, string>> = {
  prefix: "prefix",
  command: "command",
  user: "user",
  "startup-file": "startup_file",
  app: "app",
  interpreter: "interpreter",
  "env-file": "env_file",
  env: "env",
};

/** Options whose values are numbers in a file. */
const numbers = ["workers", "threads", "max", "max-per-app", "max-queue", "log-level"];

const options = {
  listen: option("ADDRESS", "PORT, HOST:PORT or unix:PATH; repeatable (default 127.0.0.1:8080)"),
  host: option("HOST", "the address alone, with --port (default 127.0.0.1)"),
  port: option("PORT", "the port alone, with --host (default 8080)"),
  workers: option("N", "processes that serve HTTP (default 1)"),
  max: option("N", "application processes there may be (default 20)"),
  "max-per-app": option("N", "the same for each application; 0: no limit (default 0)"),
  "max-idle-time": option("TIME", "how long one may have nothing to do (default 2m)"),
  "max-queue": option("N", "requests that may wait for one; 0: no limit (default 0)"),
  environment: option("NAME", "production, development … (default production)"),
  type: option("TYPE", "auto, rack, wsgi, asgi, node, bun, command or static (default auto)"),
  threads: option("N", "requests at once for a process of rack or wsgi (default 1)"),
  command: option("WORDS", "what to start there, whatever it is, if it speaks HTTP/1.1"),
  "startup-file": option("FILE", "what starts it, below DIRECTORY"),
  app: option("NAME", "of Python: module:callable, as mysite.wsgi:application"),
  interpreter: option("PATH", "a virtual environment, or the program that runs it"),
  env: option("NAME=VALUE", "a variable of the application's; repeatable"),
  "env-file": option("FILE", "a file of such variables"),
  user: option("USER", "whom it runs as, in place of the owner of its files"),
  prefix: option("PREFIX", "the path below which it is (default /)"),
  config: option("FILE", "a configuration file (TOML), in place of a directory"),
  check: { type: "boolean", description: "only check the configuration" },
  "drain-time": option("TIME", "for requests under way at the end (default 30s)"),
  admin: option("ADDRESS", "where figures and the dashboard are, of this machine alone"),
  "access-log": option("FORM", "common, json or off (default common)"),
  "access-log-file": option("FILE", "where it goes (default stdout)"),
  "log-level": option("N", "0 warnings, 1 notable events, up to 4 (default 0)"),
  "log-format": option("FORM", "text or json (default text)"),
} as const;

function option(valueHint: string, description: string) {
  return { type: "string", valueHint, description } as const;
}

/** As citty shows it with --help. */
export const serveCommand: CommandDef = {
  meta: {
    name: "ApplicationPoolServerExecutable serve",
    description:
      "Serves applications over HTTP: one directory, or those of a configuration file. " +
      "SIGHUP reads the file anew, SIGUSR1 opens logs anew, SIGTERM and SIGINT end it.",
  },
  args: {
    DIRECTORY: {
      type: "positional",
      required: false,
      description: "the application: config.ru, passenger_wsgi.py, server.ts, app.js …",
    },
    ...options,
  },
};

/** What was asked for; the configuration can be read again and again. */
export interface ServeRequest {
  readonly check: boolean;
  /** @throws ConfigurationError. */
  readConfig(): GatewayConfig;
}

/** Reads the arguments after `serve`. @throws UsageError. */
export function readServeArguments(rawArguments: readonly string[]): ServeRequest {
  const { words, given } = readArguments(rawArguments, options, ["listen", "env"]);
  const [directory, extra] = words;
  const file = given.get("config")?.[0];
  if (extra !== undefined) throw new UsageError(`unexpected argument '${extra}'`);
  if (directory === undefined && file === undefined) {
    throw new UsageError("no application: give a directory, or a file with --config");
  }
  if (directory !== undefined && file !== undefined) {
    throw new UsageError(`both '${directory}' and --config are given: name it in the file`);
  }
  const ofApp = Object.keys(keysOfApp).find((name) => given.has(name));
  if (file !== undefined && ofApp !== undefined) {
    throw new UsageError(`--${ofApp} is about one application: with --config say it in the file`);
  }
  if (given.has("listen") && (given.has("host") || given.has("port"))) {
    throw new UsageError("--listen says the address: leave --host and --port out");
  }
  const app = directory === undefined ? {} : { root: rootAt(directory), ...ofApplication(given) };
  const path = file === undefined ? undefined : resolve(file);
  return {
    check: given.has("check"),
    readConfig: () => readConfig(path, app, given),
  };
}

function readConfig(
  path: string | undefined,
  app: Settings,
  given: Arguments["given"],
): GatewayConfig {
  const settings = path === undefined ? { apps: [app] } : { ...readSettingsFile(path) };
  const overruled = overrule(settings, given);
  const base = path === undefined ? process.cwd() : dirname(path);
  const config = readSettings(settings, base);
  if (!Array.isArray(config)) return config;
  const places = config.map(({ key, why }: Problem) => {
    const place = overruled.get(key) ?? (path === undefined ? placeOf(key) : `${path}: ${key}`);
    return `${place}: ${why}`;
  });
  throw new ConfigurationError(places);
}

/** Without a file there is one application: its root is the argument, the rest are options. */
function placeOf(key: string): string {
  if (key === "apps[0].root") return "DIRECTORY";
  const name = Object.keys(keysOfApp).find((one) => key === `apps[0].${keysOfApp[one]}`);
  return name === undefined ? key : `--${name}`;
}

/**
 * The root by the name that the shell has for it, if that leads there: where it is a release's link
 * it stays one, and a restart follows it.
 */
function rootAt(directory: string): string {
  const { PWD = "" } = process.env;
  const root = resolve(directory);
  const named = resolve(PWD, directory);
  if (!PWD.startsWith("/") || named === root) return root;
  const [one, other] = [root, named].map((path) => statSync(path, { throwIfNoEntry: false }));
  return one !== undefined && one.dev === other?.dev && one.ino === other.ino ? named : root;
}

/** What options say of the application. @throws UsageError. */
function ofApplication(given: Arguments["given"]): Settings {
  const settings: Record<string, unknown> = {};
  for (const [name, values] of given) {
    const key = keysOfApp[name];
    const [text = ""] = values;
    if (key === "env") settings[key] = Object.fromEntries(values.map(variable));
    // As the shell means it, not from the root.
    else if (key === "env_file") settings[key] = resolve(text);
    else if (key === "interpreter") settings[key] = text.includes("/") ? resolve(text) : text;
    else if (key !== undefined) settings[key] = text;
  }
  return settings;
}

function variable(text: string): [name: string, value: string] {
  const end = text.indexOf("=");
  if (end <= 0) throw new UsageError(`--env is '${text}', not NAME=VALUE`);
  return [text.slice(0, end), text.slice(end + 1)];
}

/** Puts what the command line gives into the settings. @returns which option stands for a key. */
function overrule(
  settings: Record<string, unknown>,
  given: Arguments["given"],
): Map<string, string> {
  const overruled = new Map<string, string>();
  for (const [name, values] of given) {
    const key = keys[name];
    if (key === undefined) continue;
    const [last = "", section] = key.split(".").toReversed();
    const table = section === undefined ? settings : sectionOf(settings, section);
    table[last] = name === "listen" ? values : valueOf(name, values[0] ?? "");
    overruled.set(key, `--${name}`);
  }
  const place = ["host", "port"].find((name) => given.has(name));
  if (place !== undefined) {
    const [host = "127.0.0.1"] = given.get("host") ?? [];
    const [port = "8080"] = given.get("port") ?? [];
    settings["listen"] = [`${/^[^[].*:/.test(host) ? `[${host}]` : host}:${port}`];
    overruled.set("listen", `--${place}`);
  }
  return overruled;
}

function sectionOf(settings: Record<string, unknown>, section: string): Record<string, unknown> {
  const present = settings[section];
  const made = typeof present === "object" ? { ...present } : {};
  settings[section] = made;
  return made;
}

/** A number as a number, so that it is checked as one; all else as it stands there. */
function valueOf(name: string, text: string): unknown {
  if (numbers.includes(name) && /^[0-9]{1,15}$/.test(text)) return Number(text);
  return text;
}
