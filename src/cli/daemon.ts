/**
 * The default command, the contract of 2.0: six positional arguments and a socket on descriptor 3, then our options.
 * Arguments become a configuration here and errors become one line; the server itself knows of neither.
 */
import type { CommandDef } from "citty";

import { SyscallError } from "../native/errno.ts";
import { open, setCloseOnExec } from "../native/fd.ts";
import { OwnedFd } from "../native/owned-fd.ts";
import { findUser, ignoreSignal, signals, type User } from "../native/process.ts";
import { whyNotStream } from "../native/socket.ts";
import { Pool } from "../pool/pool.ts";
import { raiseDescriptorLimit } from "../server/descriptor-limit.ts";
import { LineWriter } from "../server/line-writer.ts";
import { Log, outputWriter, type LogFormat } from "../server/log.ts";
import { PoolServer } from "../server/server.ts";
import { BuiltinSpawner } from "../spawn/builtin/builtin-spawner.ts";
import { SpawnServer } from "../spawn/spawn-server.ts";
import type { Spawner } from "../spawn/spawner.ts";
import type { AppRequest } from "../wire/app-request.ts";
import { toText, type ByteString } from "../wire/bytes.ts";
import { MAX_IDLE_SECONDS, MAX_POOL_SIZE } from "../wire/commands.ts";
import { oneOf, readOptions, seconds, variableOf, wholeNumber } from "./options.ts";
import { onSignal } from "./signals.ts";
import { StartError, UsageError } from "./usage-error.ts";

/** The wake socket's number is part of the contract. */
const wakeDescriptor = 3;

const positionals = [
  "LOGLEVEL",
  "SPAWN_SERVER",
  "LOG_FILE",
  "RUBY",
  "USER",
  "STATUS_FIFO",
] as const;

const options = {
  "spawn-timeout": option("SECONDS", "time limit of one spawn (default 90)"),
  "max-wait": option("SECONDS", "longest wait of a get; 0: no limit (default 0)"),
  "max-queue": option("GETS", "most gets that may wait; 0: no limit (default 0)"),
  "log-format": option("FORMAT", "text or json (default text)"),
  max: option("INSTANCES", "start value of setMax (default 20)"),
  "max-per-app": option("INSTANCES", "start value of setMaxPerApp; 0: no limit (default 0)"),
  "max-idle-time": option("SECONDS", "start value of setMaxIdleTime (default 120)"),
} as const;

function option(valueHint: string, description: string) {
  return { type: "string", valueHint, description } as const;
}

/** As citty shows it with --help. */
export const daemonCommand: CommandDef = {
  meta: {
    name: "ApplicationPoolServerExecutable",
    description:
      "Application pool server. Exec it with one end of a Unix stream socket pair on descriptor 3; " +
      `every option can also be given as ${variableOf("option-name")}.`,
  },
  args: {
    LOGLEVEL: positional("whole number: 0 warnings and errors, 1 notable events, up to 4"),
    SPAWN_SERVER: positional("spawn server script; '' or builtin: the built-in spawner"),
    LOG_FILE: positional("output of spawn server and applications; '': stderr"),
    RUBY: positional("Ruby interpreter, looked up on PATH"),
    USER: positional("user of the spawn server; '': as it is"),
    STATUS_FIFO: positional("existing FIFO for the status report; '': none"),
    ...options,
  },
};

function positional(description: string) {
  return { type: "positional", description } as const;
}

interface Config {
  readonly logLevel: number;
  readonly logFormat: LogFormat;
  readonly spawnServer: ByteString;
  readonly logFile: ByteString | undefined;
  readonly ruby: ByteString;
  readonly user: User | undefined;
  readonly statusFifo: ByteString | undefined;
  readonly spawnTimeoutMs: number;
  readonly maxWaitMs: number;
  readonly maxQueue: number;
  readonly limits: { readonly max: number; readonly maxPerApp: number; readonly maxIdleMs: number };
}

/** Whether a first argument selects this command. */
export function isLogLevel(argument: string): boolean {
  return /^-?[0-9]+$/.test(argument);
}

/** Reads the command line. @throws UsageError, StartError. */
async function configure(args: readonly ByteString[]): Promise<Config> {
  const given = args.slice(0, positionals.length);
  const [logLevel, spawnServer, logFile, ruby, user, statusFifo] = given;
  if (logLevel === undefined || !isLogLevel(logLevel)) {
    throw new UsageError(
      `LOGLEVEL is '${toText(logLevel ?? ("" as ByteString))}', not a whole number`,
    );
  }
  if (
    spawnServer === undefined ||
    logFile === undefined ||
    ruby === undefined ||
    user === undefined ||
    statusFifo === undefined
  ) {
    throw new UsageError(
      `${given.length} arguments are given, ${positionals.length} are needed: ${positionals.join(" ")}`,
    );
  }
  const rest = args.slice(positionals.length).map((argument) => toText(argument));
  const set = await readOptions(rest, options, process.env);
  return {
    logLevel: Number(logLevel),
    logFormat: oneOf(set, "log-format", ["text", "json"]),
    spawnServer,
    logFile: usableLogFile(logFile),
    ruby,
    user: knownUser(user),
    statusFifo: statusFifo === "" ? undefined : statusFifo,
    spawnTimeoutMs: seconds(set, "spawn-timeout", { min: 0.001, max: 3600 }, 90_000),
    maxWaitMs: seconds(set, "max-wait", { min: 0, max: 86_400 }, 0),
    maxQueue: wholeNumber(set, "max-queue", { min: 0, max: 1_000_000 }, 0),
    limits: {
      max: wholeNumber(set, "max", { min: 1, max: MAX_POOL_SIZE }, 20),
      maxPerApp: wholeNumber(set, "max-per-app", { min: 0, max: MAX_POOL_SIZE }, 0),
      maxIdleMs: wholeNumber(set, "max-idle-time", { min: 0, max: MAX_IDLE_SECONDS }, 120) * 1000,
    },
  };
}

function usableLogFile(path: ByteString): ByteString | undefined {
  if (path === "") return undefined;
  try {
    open(path, "append").close();
  } catch (error) {
    throw new StartError(`LOG_FILE '${toText(path)}' cannot be opened: ${causeOf(error)}`);
  }
  return path;
}

function knownUser(name: ByteString): User | undefined {
  if (name === "") return undefined;
  const user = findUser(name);
  if (user === undefined)
    throw new StartError(`USER '${toText(name)}' is not known on this system`);
  return user;
}

function causeOf(error: unknown): string {
  return error instanceof SyscallError ? error.code : String(error);
}

function takeWakeSocket(): OwnedFd {
  const why = startedByInit()
    ? "it belongs to systemd's socket activation"
    : whyNotStream(wakeDescriptor);
  if (why !== undefined) {
    throw new StartError(
      `descriptor ${wakeDescriptor} must be one end of a Unix stream socket pair, but ${why}; ` +
        "this program is started by a parent such as a web server",
    );
  }
  setCloseOnExec(wakeDescriptor, true);
  return new OwnedFd(wakeDescriptor);
}

/** systemd's passed sockets start at 3 too (sd_listen_fds(3)). */
function startedByInit(): boolean {
  return process.env["LISTEN_PID"] === String(process.pid);
}

/** Runs the server until it ends. @throws UsageError, StartError before anything is started. */
export async function runDaemon(args: readonly ByteString[]): Promise<void> {
  const config = await configure(args);
  const wakeSocket = takeWakeSocket();
  ignoreSignal(signals.SIGPIPE);
  const originalDescriptorLimit = raiseDescriptorLimit();
  const stderr = new LineWriter(undefined);
  const output = config.logFile === undefined ? stderr : new LineWriter(config.logFile);
  const log = new Log(config.logLevel, config.logFormat, (line) => stderr.write(line));
  reportMistakes(log);
  const notify = log.event.bind(log);
  const isBuiltin = config.spawnServer === "" || config.spawnServer === "builtin";
  const spawner: Spawner = isBuiltin
    ? new BuiltinSpawner({
        notify,
        originalDescriptorLimit,
        writeOutput: outputWriter(output, config.logFormat),
      })
    : new SpawnServer({
        command: {
          ruby: config.ruby,
          script: config.spawnServer,
          ...(config.logFile === undefined ? {} : { logFile: config.logFile }),
          ...(config.user === undefined || process.geteuid?.() !== 0 ? {} : { user: config.user }),
        },
        notify,
        originalDescriptorLimit,
      });
  const pool = new Pool<AppRequest>(
    {
      maxWaitMs: config.maxWaitMs,
      maxQueue: config.maxQueue,
      spawnsAtOnce: spawner.spawnsAtOnce,
      failurePause: spawner.pausesAfterFailures ? { firstMs: 1000, maxMs: 30_000 } : undefined,
    },
    config.limits,
  );
  const { statusFifo, spawnTimeoutMs } = config;
  const server = new PoolServer({ wakeSocket, spawner, pool, log, spawnTimeoutMs, statusFifo });
  obeySignals(server, output);
  await server.start();
  await server.ended;
}

/** SIGINT and SIGTERM end the server; a storm of SIGINT is one; a second SIGTERM skips the waits. */
function obeySignals(server: PoolServer, output: LineWriter): void {
  let terms = 0;
  onSignal((signal) => {
    switch (signal) {
      case "SIGINT":
        server.stop(signal);
        break;
      case "SIGTERM":
        terms += 1;
        server.stop(signal);
        if (terms > 1) server.hurry();
        break;
      case "SIGHUP":
      case "SIGUSR1":
        output.reopen();
        break;
      case "SIGUSR2":
        break;
    }
  });
}

/** A mistake of ours must be seen, and must not take every application down with it. */
function reportMistakes(log: Log): void {
  const report = (error: unknown): void => {
    log.error("internal error", {
      cause: String(error),
      stack: error instanceof Error ? (error.stack ?? "") : "",
    });
  };
  process.on("uncaughtException", report);
  process.on("unhandledRejection", report);
}
