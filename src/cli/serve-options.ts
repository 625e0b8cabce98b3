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
import { option, readArguments, type Arguments } from "./options.ts";
import { ConfigurationError, UsageError } from "./usage-error.ts";

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

const ofPool = ["max", "max-per-app", "max-idle-time", "max-queue"];
/** About the one application that there is without a file. */
const ofApp = "prefix command user startup-file app interpreter env-file env".split(" ");
const otherKeys: Readonly<Record<string, string>> = {
  host: "listen",
  port: "listen",
  admin: "admin.listen",
  "access-log": "log.access",
  "access-log-file": "log.access_file",
  "log-level": "log.level",
  "log-format": "log.format",
  config: "",
  check: "",
};

/** The key of the configuration that an option says, `pool.max` or `apps[0].env`; empty: none. */
function keyOf(name: string): string {
  const section = ofPool.includes(name) ? "pool." : ofApp.includes(name) ? "apps[0]." : "";
  return otherKeys[name] ?? section + name.replaceAll("-", "_");
}

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
  const about = ofApp.find((name) => given.has(name));
  if (file !== undefined && about !== undefined) {
    throw new UsageError(`--${about} is about one application: with --config say it in the file`);
  }
  if (given.has("listen") && (given.has("host") || given.has("port"))) {
    throw new UsageError("--listen says the address: leave --host and --port out");
  }
  const app = directory === undefined ? {} : { root: rootAt(directory) };
  for (const name of given.keys()) valueOf(name, given); // What is no value is said now.
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
  const settings = path === undefined ? { apps: [{ ...app }] } : { ...readSettingsFile(path) };
  overrule(settings, given);
  const base = path === undefined ? process.cwd() : dirname(path);
  const config = readSettings(settings, base);
  if (!Array.isArray(config)) return config;
  throw new ConfigurationError(
    config.map(({ key, why }: Problem) => `${placeOf(key, path, given)}: ${why}`),
  );
}

/** Where a key was given. Without a file there is one application: its root is the argument. */
function placeOf(key: string, path: string | undefined, given: Arguments["given"]): string {
  if (path === undefined && key === "apps[0].root") return "DIRECTORY";
  const names = Object.keys(options).filter((name) => keyOf(name) === key);
  const name = names.find((one) => given.has(one)) ?? (path === undefined ? names[0] : undefined);
  if (name !== undefined) return `--${name}`;
  return path === undefined ? key : `${path}: ${key}`;
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

/** Puts what the command line gives into the settings. */
function overrule(settings: Record<string, unknown>, given: Arguments["given"]): void {
  for (const name of given.keys()) {
    const [last = "", section] = keyOf(name).split(".").toReversed();
    const table = section === undefined ? settings : sectionOf(settings, section);
    if (last !== "") table[last] = valueOf(name, given);
  }
}

function sectionOf(settings: Record<string, unknown>, section: string): Record<string, unknown> {
  if (section === "apps[0]") return (settings["apps"] as [Record<string, unknown>])[0];
  const present = settings[section];
  const made = typeof present === "object" ? { ...present } : {};
  settings[section] = made;
  return made;
}

/** What an option's key is to hold. @throws UsageError. */
function valueOf(name: string, given: Arguments["given"]): unknown {
  const values = given.get(name) ?? [];
  const [text = ""] = values;
  switch (name) {
    case "listen":
      return values;
    case "host":
    case "port": {
      const [host = "127.0.0.1"] = given.get("host") ?? [];
      const [port = "8080"] = given.get("port") ?? [];
      return [`${/^[^[].*:/.test(host) ? `[${host}]` : host}:${port}`];
    }
    case "env":
      return Object.fromEntries(values.map(variable));
    case "env-file":
      return resolve(text); // As the shell means it, not from the root.
    case "interpreter":
      return text.includes("/") ? resolve(text) : text;
    default:
      // A number as a number, so that it is checked as one; all else as it stands there.
      return isNumber(name) && /^[0-9]{1,15}$/.test(text) ? Number(text) : text;
  }
}

function isNumber(name: string): boolean {
  return (options as Readonly<Record<string, { valueHint?: string }>>)[name]?.valueHint === "N";
}

function variable(text: string): [name: string, value: string] {
  const end = text.indexOf("=");
  if (end <= 0) throw new UsageError(`--env is '${text}', not NAME=VALUE`);
  return [text.slice(0, end), text.slice(end + 1)];
}
