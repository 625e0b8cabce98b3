/**
 * `logs APP`: the last lines that an application has written, and those to come: from its file if
 * it has one, else from what the pool server remembers.
 */
import { writeSync } from "node:fs";
import type { CommandDef } from "citty";

import type { LoggedOutput } from "../gateway/supervisor/operator.ts";
import { withoutControls } from "../logging/log.ts";
import { fromText, toBytes, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { findGateway, type FoundGateway, gatewayOptions, wordOf } from "./gateway-client.ts";
import { LogTail } from "./log-tail.ts";
import { option, readArguments } from "./options.ts";
import { endOnSignal } from "./signals.ts";
import { harmless, show } from "./terminal.ts";
import { StartError, UsageError } from "./usage-error.ts";

const defaultLines = 20;
const lookMs = 250;

const options = {
  ...gatewayOptions,
  follow: { type: "boolean", description: "go on with what is written, until Ctrl-C" },
  lines: option("N", `at first (default ${defaultLines})`),
} as const;

export const logsCommand: CommandDef = {
  meta: {
    name: "ApplicationPoolServerExecutable logs",
    description: "Shows the last lines that an application has written.",
  },
  args: { APP: wordOf("APP"), ...options },
};

/** @throws UsageError, StartError. */
export async function runLogs(rawArguments: readonly string[]): Promise<void> {
  const { words, given } = readArguments(rawArguments, options);
  const [app, extra] = words;
  if (app === undefined) throw new UsageError("logs: APP is missing");
  if (extra !== undefined) throw new UsageError(`unexpected argument '${extra}'`);
  const count = lineCount(given.get("lines")?.[0]);
  endOnSignal();
  const gateway = await findGateway(given);
  const output = await ask(gateway, app, 0);
  const follows = given.has("follow");
  if ("file" in output) return showFile(output.file, count, follows);
  showLast(output.lines.slice(count === 0 ? output.lines.length : -count).map(withoutEnd), count);
  if (follows) await follow(gateway, app, output.last);
}

async function follow(gateway: FoundGateway, app: string, after: number): Promise<void> {
  for (let last = after, isOpen = true; isOpen;) {
    await Bun.sleep(lookMs);
    const output = await ask(gateway, app, last);
    if ("file" in output) return showFile(output.file, 0, true); // It has one since a reload.
    if (output.isGap) writeSync(2, "(lines are missing here: too many at once)\n");
    isOpen = showLines(output.lines.map(withoutEnd));
    last = output.last;
  }
}

async function showFile(path: string, count: number, follows: boolean): Promise<void> {
  using tail = new LogTail(path);
  try {
    let isOpen = showLast(tail.last(count), count) && follows;
    for (; isOpen; isOpen = showLines(tail.more())) {
      await Bun.sleep(lookMs);
    }
  } catch (error) {
    throw new StartError(`read '${path}': ${causeText(error)}`, { cause: error });
  }
}

async function ask(gateway: FoundGateway, app: string, after: number): Promise<LoggedOutput> {
  const output = (await gateway.ask({ command: "logs", app, after })) as LoggedOutput;
  if (!("file" in output) || gateway.user === undefined) return output;
  // Whatever file he names would be read with our rights.
  const file = harmless(output.file);
  throw new StartError(`'${app}' writes to '${file}': read it there, as ${gateway.user}`);
}

function lineCount(text = String(defaultLines)): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  throw new UsageError(`--lines is '${text}', not a whole number from 0 to 999999`);
}

function withoutEnd(line: string): ByteString {
  return fromText(line.slice(0, -1));
}

/** As showLines. Where there is nothing, that is said, to people alone. */
function showLast(lines: readonly ByteString[], count: number): boolean {
  if (lines.length === 0 && count > 0) writeSync(2, "(nothing has been written yet)\n");
  return showLines(lines);
}

/** Whoever can write to the file could have put anything there. @returns false: nobody reads. */
function showLines(lines: readonly ByteString[]): boolean {
  const text = lines.map((line) => `${withoutControls(line)}\n`).join("");
  return show(toBytes(text as ByteString));
}
