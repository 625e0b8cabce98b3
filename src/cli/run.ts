/**
 * Which command runs, and how it ends: errors become one line on stderr and an exit status (0 done,
 * 1 failure, 2 usage). Commands are loaded when they are chosen: a parent waits for the default one
 * to start.
 */
import type { CommandDef } from "citty";

import { ignoreSignal, signals } from "../native/process.ts";
import { ascii, toText } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { argumentBytes, isLogLevel } from "./arguments.ts";
import { historicName, programName } from "./program-name.ts";
import { handledSignals } from "./signals.ts";
import { ConfigurationError, StartError, UsageError } from "./usage-error.ts";
import { version } from "./version.ts";

/** Those of control-commands.ts, which is loaded when one is chosen. */
const controlCommands: ReadonlySet<string> = new Set(
  "restart detach pause resume set reload reopen-logs dashboard stop".split(" "),
);

/** Runs the command the arguments name and exits. */
export async function run(): Promise<never> {
  try {
    await dispatch();
    return exit(0);
  } catch (error) {
    if (error instanceof UsageError) {
      return fail(2, `${error.message} (try --help)`);
    }
    if (error instanceof ConfigurationError) return fail(2, ...error.problems);
    if (error instanceof StartError) return fail(1, error.message);
    return fail(1, `internal error: ${causeText(error)}`);
  }
}

async function dispatch(): Promise<void> {
  const args = argumentBytes();
  const first = toText(args[0] ?? ascii(""));
  if (first === "--version" || first === "-v") {
    say(1, `${programName()} ${version()}`);
    return;
  }
  if (isLogLevel(first)) {
    const { runDaemon } = await import("./daemon.ts");
    await runDaemon(args);
    return;
  }
  if (first === "serve") return serve(args.slice(1).map((argument) => toText(argument)));
  if (first === "status") return showStatus(args.slice(1).map((argument) => toText(argument)));
  if (first === "logs") return showLogs(args.slice(1).map((argument) => toText(argument)));
  if (controlCommands.has(first)) {
    return control(
      first,
      args.slice(1).map((argument) => toText(argument)),
    );
  }
  if (first === "undertaker") {
    const { runUndertaker } = await import("./undertaker.ts");
    return runUndertaker(toText(args[1] ?? ascii("")));
  }
  if (first === "gateway-worker") {
    const { runWorker } = await import("./gateway-worker.ts");
    return runWorker();
  }
  if (first === "gateway-admin") {
    const { runAdmin } = await import("./gateway-admin.ts");
    return runAdmin();
  }
  if (first === "--help" || first === "-h") {
    const { daemonCommand } = await import("./config.ts");
    // Options come last here: a parent's six arguments are positions, whatever they look like.
    return showUsage(daemonCommand, (usage) =>
      usage
        .replace("[OPTIONS] <LOGLEVEL>", "<LOGLEVEL>")
        .replace("<STATUS_FIFO>", "<STATUS_FIFO> [OPTIONS]"),
    );
  }
  const known = ["serve", "status", "logs", ...controlCommands].join(", ");
  throw new UsageError(
    args.length === 0
      ? "no arguments: 'serve DIRECTORY' serves an application; else a parent such as a web " +
          "server starts it, with a socket on descriptor 3"
      : `'${first}' is neither a command (${known}) nor a LOGLEVEL, a whole number`,
  );
}

async function serve(args: readonly string[]): Promise<void> {
  if (args.includes("--help") || args.includes("-h")) {
    const { serveCommand } = await import("./serve-options.ts");
    return showUsage(serveCommand, (usage) => usage);
  }
  const { runServe } = await import("./serve.ts");
  await runServe(args);
}

async function showStatus(args: readonly string[]): Promise<void> {
  const { runStatus, statusCommand } = await import("./status.ts");
  if (args.includes("--help") || args.includes("-h")) {
    return showUsage(statusCommand, (usage) => usage);
  }
  await runStatus(args);
}

async function showLogs(args: readonly string[]): Promise<void> {
  const { logsCommand, runLogs } = await import("./logs.ts");
  if (args.includes("--help") || args.includes("-h")) {
    return showUsage(logsCommand, (usage) => usage);
  }
  await runLogs(args);
}

async function control(name: string, args: readonly string[]): Promise<void> {
  const { controlCommand, runControl } = await import("./control-commands.ts");
  if (args.includes("--help") || args.includes("-h")) {
    return showUsage(controlCommand(name), (usage) => usage);
  }
  await runControl(name, args);
}

async function showUsage(command: CommandDef, arrange: (usage: string) => string): Promise<void> {
  const { renderUsage } = await import("citty");
  const { isatty } = await import("node:tty");
  const usage = arrange(await renderUsage(command)).replaceAll(historicName, programName());
  say(1, isatty(1) ? usage : Bun.stripANSI(usage));
}

function fail(status: 1 | 2, ...messages: readonly string[]): never {
  for (const message of messages) say(2, `${programName()}: ${message}`);
  return exit(status);
}

/** Bun's process.stdout costs 8 ms to load. */
function say(fd: 1 | 2, text: string): void {
  process.getBuiltinModule("node:fs").writeSync(fd, `${text}\n`);
}

/**
 * Exits although a parent may still be sending signals: while the runtime winds down they would
 * kill us.
 */
function exit(status: number): never {
  for (const signal of handledSignals) ignoreSignal(signals[signal]);
  process.exit(status);
}
