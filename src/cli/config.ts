/**
 * The command line of the default command: the six positional arguments of 2.0, then our options.
 * Everything is checked here; what comes out can be used as it is.
 */
import type { CommandDef } from "citty";

import { findUser, type User } from "../native/process.ts";
import { ascii, toText, type ByteString } from "../wire/bytes.ts";
import { MAX_IDLE_SECONDS, MAX_POOL_SIZE } from "../wire/commands.ts";
import { commandNames } from "./arguments.ts";
import { oneOf, option, readOptions, seconds, variableOf, wholeNumber } from "./options.ts";
import { StartError, UsageError } from "./usage-error.ts";

const positionals = {
  LOGLEVEL: positional("whole number: 0 warnings and errors, 1 notable events, up to 4"),
  SPAWN_SERVER: positional("spawn server script; '' or builtin: the built-in spawner"),
  LOG_FILE: positional("output of spawn server and applications; '': stderr"),
  RUBY: positional("Ruby interpreter, looked up on PATH"),
  USER: positional("user of the spawn server; '': as it is"),
  STATUS_FIFO: positional("existing FIFO for the status report; '': none"),
} as const;

function positional(description: string) {
  return { type: "positional", description } as const;
}

const options = {
  "spawn-timeout": option("SECONDS", "time limit of one spawn (default 90)"),
  "max-wait": option("SECONDS", "longest wait of a get; 0: no limit (default 0)"),
  "max-queue": option("GETS", "most gets that may wait; 0: no limit (default 0)"),
  "abandon-timeout": option("SECONDS", "for a request whose client left; 0: no limit (default 0)"),
  "share-after": option("SECONDS", "wait that is owed a place of others; 0: never (default 0)"),
  "request-timeout": option("SECONDS", "longest time of a request; 0: no limit (default 0)"),
  "log-format": option("FORMAT", "text or json (default text)"),
  max: option("INSTANCES", "start value of setMax (default 20)"),
  "max-per-app": option("INSTANCES", "start value of setMaxPerApp; 0: no limit (default 0)"),
  "max-idle-time": option("SECONDS", "start value of setMaxIdleTime (default 120)"),
  exit: option(
    "WHEN",
    "early or last: before instances that still answer, or after (default early)",
  ),
} as const;

/** What `serve` alone says, so that no help shows it (PROTOCOL section 12). */
const ofServe = {
  "supervisor-channel": option("4", "descriptor of the supervisor's channel"),
} as const;

export const daemonCommand: CommandDef = {
  meta: {
    name: "ApplicationPoolServerExecutable",
    description:
      "Application pool server. `serve DIRECTORY` serves an application over HTTP; " +
      `${commandNames.slice(1).join(", ")} are for one that runs. Each has a --help of its own. ` +
      "Otherwise a parent execs it with one end of a Unix stream socket pair on descriptor 3; " +
      `every option below can also be given as ${variableOf("option-name")}.`,
  },
  args: { ...positionals, ...options },
};

export type Config = Readonly<ReturnType<typeof readConfig>>;

/** Reads the command line, which begins with a LOGLEVEL. @throws UsageError, StartError. */
export function readConfig(args: readonly ByteString[]) {
  const names = Object.keys(positionals);
  if (args.length < names.length) {
    throw new UsageError(
      `${args.length} of the ${names.length} arguments are given: ${names.join(" ")}`,
    );
  }
  const none = ascii("");
  const [logLevel = none, spawnServer = none, logFile = none, ruby = none] = args;
  const [user = none, statusFifo = none] = args.slice(4);
  const rest = args.slice(names.length).map((argument) => toText(argument));
  const set = readOptions(rest, { ...options, ...ofServe }, process.env);
  if (ruby === "" && spawnServer !== "" && spawnServer !== "builtin") {
    throw new UsageError(
      `RUBY is empty, but SPAWN_SERVER '${toText(spawnServer)}' needs an interpreter`,
    );
  }
  return {
    logLevel: Number(logLevel),
    logFormat: oneOf(set, "log-format", ["text", "json"]),
    spawnServer,
    logFile: logFile === "" ? undefined : logFile,
    ruby,
    user: knownUser(user),
    statusFifo: statusFifo === "" ? undefined : statusFifo,
    /** The descriptor of the supervisor's channel; 0: there is none. */
    supervisorChannel: wholeNumber(set, "supervisor-channel", { min: 4, max: 4 }, 0),
    /** Whether it exits before instances that still answer (hand-over.ts). */
    exitsEarly: oneOf(set, "exit", ["early", "last"]) === "early",
    spawnTimeoutMs: seconds(set, "spawn-timeout", { min: 0.001, max: 3600 }, 90_000),
    maxWaitMs: seconds(set, "max-wait", { min: 0, max: 86_400 }, 0),
    abandonMs: seconds(set, "abandon-timeout", { min: 0, max: 86_400 }, 0),
    requestMs: seconds(set, "request-timeout", { min: 0, max: 86_400 }, 0),
    shareAfterMs: seconds(set, "share-after", { min: 0, max: 86_400 }, 0),
    maxQueue: wholeNumber(set, "max-queue", { min: 0, max: 1_000_000 }, 0),
    limits: {
      max: wholeNumber(set, "max", { min: 1, max: MAX_POOL_SIZE }, 20),
      maxPerApp: wholeNumber(set, "max-per-app", { min: 0, max: MAX_POOL_SIZE }, 0),
      maxIdleMs: wholeNumber(set, "max-idle-time", { min: 0, max: MAX_IDLE_SECONDS }, 120) * 1000,
    },
  };
}

function knownUser(name: ByteString): User | undefined {
  if (name === "") return undefined;
  const user = findUser(name);
  if (user === undefined) {
    throw new StartError(`USER '${toText(name)}' is not known on this system`);
  }
  return user;
}
