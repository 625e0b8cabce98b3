/**
 * `status`: what a running gateway of this user does, for people, as JSON or as OpenMetrics. It is
 * found by its socket in the runtime directory.
 */
import { readdirSync, unlinkSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import type { CommandDef } from "citty";

import { runtimeDirectories, whyNotSafe } from "../gateway/supervisor/runtime-directory.ts";
import type { GatewayStatus } from "../gateway/supervisor/status-socket.ts";
import { gatewayOverview } from "../status/gateway-overview.ts";
import { snapshotFromJson } from "../status/json.ts";
import { openMetrics } from "../status/openmetrics.ts";
import { readArguments } from "./options.ts";
import { StartError, UsageError } from "./usage-error.ts";

const options = {
  pid: { type: "string", valueHint: "PID", description: "of the gateway, if several run" },
  json: { type: "boolean", description: "everything, as JSON" },
  openmetrics: { type: "boolean", description: "the pool's figures, as OpenMetrics" },
} as const;

/** As citty shows it with --help. */
export const statusCommand: CommandDef = {
  meta: {
    name: "ApplicationPoolServerExecutable status",
    description: "Shows what a running gateway and its pool do.",
  },
  args: options,
};

/** A gateway that takes longer does not answer. */
const answerLimitMs = 5000;

/** @throws UsageError, StartError. */
export async function runStatus(rawArguments: readonly string[]): Promise<void> {
  const { words, given } = readArguments(rawArguments, options);
  if (words[0] !== undefined) throw new UsageError(`unexpected argument '${words[0]}'`);
  if (given.has("json") && given.has("openmetrics")) {
    throw new UsageError("--json and --openmetrics are given: one of them");
  }
  const status = await find(given.get("pid")?.[0]);
  const pool = status.pool === null ? undefined : snapshotFromJson(status.pool);
  if (given.has("json")) return say(`${JSON.stringify(status, undefined, 2)}\n`);
  if (!given.has("openmetrics")) return say(gatewayOverview(status, pool));
  if (pool === undefined) throw new StartError("the pool server does not answer");
  say(openMetrics(pool));
}

/** The one gateway that answers, or that of a process. */
async function find(pid: string | undefined): Promise<GatewayStatus> {
  const directories = runtimeDirectories(process.env);
  const paths = directories.flatMap((directory) =>
    whyNotSafe(directory) === undefined
      ? readdirSync(directory).map((name) => join(directory, name))
      : [],
  );
  const wanted = paths.filter((path) => pid === undefined || basename(path) === `${pid}.sock`);
  const answers = await Promise.all(wanted.map((path) => ask(path)));
  const [status, ...others] = answers.filter((answer) => answer !== undefined);
  if (status === undefined) {
    const which = pid === undefined ? "no gateway of this user runs" : `no gateway ${pid} runs`;
    throw new StartError(`${which} (looked in ${directories.join(" and ")})`);
  }
  if (others.length > 0) {
    const pids = [status, ...others].map((answer) => answer.pid).join(", ");
    throw new UsageError(`several gateways run: choose one of ${pids} with --pid`);
  }
  return status;
}

/** What a socket tells; undefined when nobody is there: then its file is removed. */
async function ask(path: string): Promise<GatewayStatus | undefined> {
  const chunks: Buffer[] = [];
  const ended = Promise.withResolvers<void>();
  try {
    await Bun.connect({
      unix: path,
      socket: {
        open: (socket) => void socket.write("status\n"),
        data: (_, chunk) => void chunks.push(Buffer.from(chunk)),
        close: () => ended.resolve(),
        error: () => ended.resolve(),
      },
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") removeStale(path);
    return undefined;
  }
  await Promise.race([ended.promise, Bun.sleep(answerLimitMs)]);
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as GatewayStatus;
  } catch {
    return undefined;
  }
}

/** Left behind by a gateway that was killed. */
function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // somebody else has
  }
}

function say(text: string): void {
  for (let rest = Buffer.from(text); rest.length > 0;) rest = rest.subarray(writeSync(1, rest));
}
