/**
 * The supervisor's channel to one pool server (PROTOCOL section 12), over which it alone registers
 * applications, sets limits, looks and pings. It is a client like any other, but for sessions,
 * which the supervisor has no use for.
 */
import { CommandStream } from "../../parent/command-stream.ts";
import type { AppType } from "../../wire/app-request.ts";
import { fromText } from "../../wire/bytes.ts";
import { ProtocolError } from "../../wire/protocol-error.ts";
import { encodeRegistration, type Registration, registrationJson } from "../../wire/register.ts";
import type { AppConfig, PoolConfig } from "../config.ts";

/**
 * Registrations that wait for their answers at a time: below what may wait (command-stream.ts),
 * with room for pings and questions. What is unsent of them stays below the outbox's bound with
 * `batchBytes`.
 */
const batchSize = 100;
const batchBytes = 256 * 1024;

/** The last lines of an application. */
export interface RecentOutput {
  /** Each with its line end. */
  readonly lines: readonly string[];
  /** The number of the last: to ask with next. */
  readonly last: number;
  /** Lines between those asked for and these are not there any more. */
  readonly isGap: boolean;
}

/** @param heard is called when the server has said anything. */
export function poolChannel(heard: () => void): CommandStream {
  return new CommandStream({ heard, told, ended });
}

function told(): never {
  throw new ProtocolError("it says something of a session, and there is none");
}

/** It ends with its server, and the other way round (pool-keeper.ts). */
function ended(): void {}

/**
 * Registers applications (by root, as registrationOf says), in batches. @throws ConfigureError when
 * the server does not take one; the errors of a connection that has ended.
 */
export async function register(
  channel: CommandStream,
  apps: ReadonlyMap<string, string>,
): Promise<void> {
  let batch: Promise<void>[] = [];
  let bytes = 0;
  for (const [root, json] of apps) {
    if (batch.length >= batchSize || bytes + json.length > batchBytes) {
      await Promise.all(batch);
      batch = [];
      bytes = 0;
    }
    const command = { kind: "register", root: fromText(root) } as const;
    batch.push(channel.ask(command, encodeRegistration(json)));
    bytes += json.length;
  }
  await Promise.all(batch);
}

/** Sets the limits that can be set while it runs. */
export async function setLimits(channel: CommandStream, pool: PoolConfig): Promise<void> {
  channel.tell({ kind: "setMax", max: pool.max });
  channel.tell({ kind: "setMaxPerApp", maxPerApp: pool.maxPerApp });
  channel.tell({ kind: "setMaxIdleTime", seconds: pool.maxIdleSeconds });
  channel.tell({ kind: "setUseGlobalQueue", useGlobalQueue: pool.globalQueue });
  await channel.ask({ kind: "ping" }); // answered in order: by then the others are carried out
}

const mayBeRails: ReadonlySet<AppConfig["type"]> = new Set(["auto", "rack", "rails"]);

/**
 * What is registered of each application that has processes, by root: two of one root agree
 * (app-settings.ts).
 */
export function registrationsOf(apps: readonly AppConfig[]): Map<string, string> {
  const prefixes = new Map(apps.map(({ root, prefix }) => [root, prefix]));
  // At several places it has none that its processes could name.
  for (const { root, prefix } of apps) if (prefixes.get(root) !== prefix) prefixes.set(root, "/");
  return new Map(
    apps.flatMap((app) => {
      const { root, type } = app;
      if (type === "static") return [];
      const registration = registrationOf(app, type, prefixes.get(root) ?? "/");
      return [[root, registrationJson(registration)]];
    }),
  );
}

function registrationOf(app: AppConfig, appType: AppType, prefix: string): Registration {
  const { options } = app;
  // Rails does not take the paths of its assets from SCRIPT_NAME.
  const rails = prefix === "/" ? {} : { RAILS_RELATIVE_URL_ROOT: prefix };
  return {
    lowerPrivilege: true,
    lowestUser: "nobody",
    environment: app.environment,
    spawnMethod: app.spawnMethod,
    appType,
    options: {
      ...options,
      readyHost: app.hosts.find((host) => !host.startsWith("*")),
      env: { ...(mayBeRails.has(app.type) ? rails : {}), ...options.env },
    },
    log: app.log,
  };
}
