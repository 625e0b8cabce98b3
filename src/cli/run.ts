/**
 * Which command runs, and how it ends: errors become one line on stderr and an exit status (0 done,
 * 1 failure, 2 usage). Commands are loaded when they are chosen: a parent waits for the default one
 * to start.
 */
import type { CommandDef } from "citty";

import { ignoreSignal, signals } from "../native/process.ts";
import { ascii, toText } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { argumentBytes, commandNames, controlCommandNames, isLogLevel } from "./arguments.ts";
import { historicName, programName, version } from "./program-name.ts";
import { handledSignals } from "./signals.ts";
import { ConfigurationError, StartError, UsageError } from "./usage-error.ts";

/** A command for people. */
interface Command {
  readonly definition: CommandDef;
  run(args: readonly string[]): Promise<void>;
}

/** Runs the command the arguments name and exits. */
export async function run(): Promise<never> {
  ignoreSignal(signals.SIGPIPE);
  try {
    await dispatch();
    return exit(0);
  } catch (error) {
    if (error instanceof UsageError) return fail(2, `${error.message} (try --help)`);
    if (error instanceof ConfigurationError) return fail(2, ...error.problems);
    if (error instanceof StartError) return fail(1, error.message);
    return fail(1, `internal error: ${causeText(error)}`);
  }
}

async function dispatch(): Promise<void> {
  const args = argumentBytes();
  const first = toText(args[0] ?? ascii(""));
  if (first === "--version" || first === "-v") return say(1, `${programName()} ${version()}`);
  if (isLogLevel(first)) return (await import("./daemon.ts")).runDaemon(args);
  const command = await load(first);
  if (command !== undefined) {
    const rest = args.slice(1).map((argument) => toText(argument));
    const asksForHelp = rest.includes("--help") || rest.includes("-h");
    return asksForHelp ? showUsage(command.definition) : command.run(rest);
  }
  if (first === "undertaker") {
    return (await import("./undertaker.ts")).runUndertaker(toText(args[1] ?? ascii("")));
  }
  if (first === "gateway-worker") return (await import("./gateway-worker.ts")).runWorker();
  if (first === "gateway-admin") return (await import("./gateway-admin.ts")).runAdmin();
  if (first === "--help" || first === "-h") {
    const { daemonCommand } = await import("./config.ts");
    // Options come last here: a parent's six arguments are positions, whatever they look like.
    return showUsage(daemonCommand, (usage) =>
      usage
        .replace("[OPTIONS] <LOGLEVEL>", "<LOGLEVEL>")
        .replace("<STATUS_FIFO>", "<STATUS_FIFO> [OPTIONS]"),
    );
  }
  const { nearestWord } = await import("./nearest-word.ts");
  const near = nearestWord(first.toLowerCase(), commandNames);
  const known = commandNames.join(", ");
  throw new UsageError(
    args.length === 0
      ? "no arguments: 'serve DIRECTORY' serves an application; else a parent such as a web " +
          "server starts it, with a socket on descriptor 3"
      : `'${first}' is neither a command (${known}) nor a LOGLEVEL, a whole number` +
          (near === undefined ? "" : `; is '${near}' meant?`),
  );
}

/** Undefined: there is no command of that name. */
async function load(name: string): Promise<Command | undefined> {
  switch (name) {
    case "serve": {
      const { serveCommand } = await import("./serve-options.ts");
      const { runServe } = await import("./serve.ts");
      return { definition: serveCommand, run: runServe };
    }
    case "status": {
      const { runStatus, statusCommand } = await import("./status.ts");
      return { definition: statusCommand, run: runStatus };
    }
    case "logs": {
      const { logsCommand, runLogs } = await import("./logs.ts");
      return { definition: logsCommand, run: runLogs };
    }
  }
  const known = controlCommandNames.find((command) => command === name);
  if (known === undefined) return undefined;
  const { controlCommand, runControl } = await import("./control-commands.ts");
  return { definition: controlCommand(known), run: (args) => runControl(known, args) };
}

async function showUsage(command: CommandDef, arrange = (usage: string) => usage): Promise<void> {
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

/** Exits though signals may still come, which would kill us while the runtime winds down. */
function exit(status: number): never {
  for (const signal of handledSignals) ignoreSignal(signals[signal]);
  process.exit(status);
}
