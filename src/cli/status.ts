/** `status`: what a running gateway does, for people, as JSON or as OpenMetrics. */
import { isatty, WriteStream } from "node:tty";
import type { CommandDef } from "citty";

import { residentBytesOf, statOf } from "../native/process-stat.ts";
import type { GatewayStatus } from "../wire/gateway-status.ts";
import { gatewayMetrics } from "../status/gateway-metrics.ts";
import {
  applicationOverview,
  gatewayOverview,
  type ProcessUsage,
  type Usage,
} from "../status/gateway-overview.ts";
import { findGateway, type FoundGateway, gatewayOptions, ofUser } from "./gateway-client.ts";
import { option, readArguments } from "./options.ts";
import { endOnSignal } from "./signals.ts";
import { harmless, show } from "./terminal.ts";
import { StartError, UsageError } from "./usage-error.ts";

const options = {
  ...gatewayOptions,
  app: option("APP", "its processes, one by one"),
  watch: { type: "boolean", description: "again and again, until Ctrl-C" },
  json: { type: "boolean", description: "everything, as JSON" },
  openmetrics: { type: "boolean", description: "its figures, as OpenMetrics" },
} as const;

export const statusCommand: CommandDef = {
  meta: {
    name: "ApplicationPoolServerExecutable status",
    description: "Shows what a running gateway and its pool do.",
  },
  args: options,
};

const watchEveryMs = 1_000;
/** Long enough for a tick of the kernel's accounts (10 ms) to be a few percent. */
const momentMs = 250;
/** Whether what is shown can be written over. */
const isScreen = isatty(1) && process.env["TERM"] !== "dumb";
let terminal: WriteStream | undefined;
/** To the corner, and away with what is below what will be written (ECMA-48). */
const clearScreen = "\u001B[H\u001B[J";

/** @throws UsageError, StartError. */
export async function runStatus(rawArguments: readonly string[]): Promise<void> {
  const { words, given } = readArguments(rawArguments, options);
  if (words[0] !== undefined) throw new UsageError(`unexpected argument '${words[0]}'`);
  const forms = ["json", "openmetrics", "watch"].filter((name) => given.has(name));
  if (forms.length > 1) throw new UsageError(`--${forms.join(" and --")} are given: one of them`);
  const [programs] = forms.filter((name) => name !== "watch");
  if (programs !== undefined && given.has("app")) {
    throw new UsageError(`--${programs} has all applications: leave --app out`);
  }
  const gateway = await findGateway(given);
  const { status } = gateway;
  const [app] = given.get("app") ?? [];
  if (given.has("json")) return void say(`${asJson(status)}\n`);
  if (given.has("openmetrics")) {
    const figures = gatewayMetrics(status, "openmetrics");
    return void say(gateway.user === undefined ? figures : harmless(figures));
  }
  if (!given.has("watch")) return void say(await overview(status, app, gateway));
  endOnSignal();
  let before = isScreen ? "\u001B[2J" : "";
  for (let now = status; ; now = (await gateway.ask({ command: "status" })) as GatewayStatus) {
    const table = await overview(now, app, gateway);
    const isRead = say(isScreen ? `${before}${clearScreen}${top(table)}` : `${before}${table}`);
    if (!isRead) return;
    before = isScreen ? "" : "\n";
    await Bun.sleep(watchEveryMs);
  }
}

/** Exact, and yet nothing that a terminal obeys is in it. */
function asJson(status: GatewayStatus): string {
  const text = JSON.stringify(status, undefined, 2);
  return text.replace(/[\u007f-\u009f]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`);
}

/** @param app one application; undefined: all of them. @throws StartError. */
async function overview(
  status: GatewayStatus,
  app: string | undefined,
  gateway: FoundGateway,
): Promise<string> {
  const { pool } = status;
  const facts = status.applications.find(({ name }) => name === app);
  if (app !== undefined && facts === undefined) {
    const names = status.applications.map(({ name }) => name).join(", ");
    throw new StartError(harmless(`there is no application '${app}'; there are ${names}`));
  }
  const instances = pool?.applications.flatMap((application) => application.instances) ?? [];
  // A stranger may call anything a number, and what is looked at goes by it.
  const pids = instances.map(({ pid }) => pid).filter((pid) => Number.isSafeInteger(pid));
  const usage = await usageOf(pids);
  const { width } = terminalSize();
  if (facts === undefined) return harmless(gatewayOverview(status, ofUser(gateway), usage, width));
  if (pool === null) throw new StartError("the pool server does not answer");
  return harmless(applicationOverview(facts, pool, usage, width));
}

/** Two looks at /proc, a moment apart. @param pids those that cannot be looked at are left out. */
async function usageOf(pids: readonly number[]): Promise<Usage> {
  const beforeMs = performance.now();
  const before = new Map(pids.map((pid) => [pid, statOf(pid)?.processorMs]));
  await Bun.sleep(momentMs);
  const tookMs = performance.now() - beforeMs;
  const found = pids.flatMap((pid): [number, ProcessUsage][] => {
    const [first, last] = [before.get(pid), statOf(pid)?.processorMs];
    const residentBytes = residentBytesOf(pid);
    if (first === undefined || last === undefined || residentBytes === undefined) return [];
    return [[pid, { cpuPercent: ((last - first) / tookMs) * 100, residentBytes }]];
  });
  return new Map(found);
}

/** Of what stdout is, if it is a terminal that says so. */
function terminalSize(): { readonly width: number; readonly height: number } {
  terminal ??= isatty(1) ? new WriteStream(1) : undefined;
  const [width, height] = terminal?.getWindowSize() ?? [];
  return { width: width || Infinity, height: height || Infinity };
}

/** As many lines as there is room for: the screen is not to roll. */
function top(table: string): string {
  const room = terminalSize().height - 1;
  const lines = table.trimEnd().split("\n");
  if (lines.length <= room) return table;
  const shown = Math.max(0, room - 1);
  return `${lines.slice(0, shown).join("\n")}\n… ${lines.length - shown} lines more\n`;
}

function say(text: string): boolean {
  return show(Buffer.from(text));
}
