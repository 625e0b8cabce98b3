/**
 * `status`: what a running gateway of this user does, for people, as JSON or as OpenMetrics. It is
 * found by its socket in the runtime directory.
 */
import { writeSync } from "node:fs";
import type { CommandDef } from "citty";

import { gatewayOverview } from "../status/gateway-overview.ts";
import { snapshotFromJson } from "../status/json.ts";
import { openMetrics } from "../status/openmetrics.ts";
import { findGateway, gatewayOptions } from "./gateway-client.ts";
import { readArguments } from "./options.ts";
import { StartError, UsageError } from "./usage-error.ts";

const options = {
  ...gatewayOptions,
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

/** @throws UsageError, StartError. */
export async function runStatus(rawArguments: readonly string[]): Promise<void> {
  const { words, given } = readArguments(rawArguments, options);
  if (words[0] !== undefined) throw new UsageError(`unexpected argument '${words[0]}'`);
  if (given.has("json") && given.has("openmetrics")) {
    throw new UsageError("--json and --openmetrics are given: one of them");
  }
  const { status } = await findGateway(given);
  const pool = status.pool === null ? undefined : snapshotFromJson(status.pool);
  if (given.has("json")) return say(`${JSON.stringify(status, undefined, 2)}\n`);
  if (!given.has("openmetrics")) return say(gatewayOverview(status, pool));
  if (pool === undefined) throw new StartError("the pool server does not answer");
  say(openMetrics(pool));
}

function say(text: string): void {
  for (let rest = Buffer.from(text); rest.length > 0;) rest = rest.subarray(writeSync(1, rest));
}
