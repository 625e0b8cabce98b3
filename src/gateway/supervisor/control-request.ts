/** What may be asked of a gateway that runs: the requests of its control socket. */
import { MAX_IDLE_SECONDS, MAX_POOL_SIZE } from "../../wire/commands.ts";
import type { PoolConfig } from "../config.ts";

export type ControlRequest =
  | { readonly command: "status" | "stop" | "reopen-logs" | "dashboard" }
  /** How long it is to wait for the restarts that it causes. */
  | { readonly command: "reload"; readonly waitMs: number }
  /** Applications go by their names. */
  | { readonly command: "restart" | "resume"; readonly app: string }
  /** `refuse`: requests are answered 503 meanwhile, rather than wait. */
  | { readonly command: "pause"; readonly app: string; readonly refuse: boolean }
  /** What it has written after a line by its number; 0: all that is remembered. */
  | { readonly command: "logs"; readonly app: string; readonly after: number }
  | { readonly command: "detach"; readonly pid: number }
  /** Limits of the pool, as far as they are to change. */
  | { readonly command: "set"; readonly change: PoolChange };

export type PoolChange = Partial<Omit<PoolConfig, "maxQueue">>;

const alone = ["status", "stop", "reopen-logs", "dashboard"] as const;

/** A restart takes as long as its starts do; this is more than any of them may take in all. */
export const maxWaitMs = 3_600_000;

/** @throws Error when the line is no request. */
export function parseControlRequest(line: string): ControlRequest {
  let given: unknown;
  try {
    given = JSON.parse(line);
  } catch (cause) {
    throw new Error("the request is not JSON", { cause });
  }
  const { command, app, refuse, pid, change, after, waitMs } = Object(given) as Record<
    string,
    unknown
  >;
  const word = alone.find((known) => known === command);
  if (word !== undefined) return { command: word };
  if (command === "reload" && (waitMs === undefined || isWhole(waitMs, 0, maxWaitMs))) {
    return { command, waitMs: Number(waitMs ?? maxWaitMs) };
  }
  if ((command === "restart" || command === "resume") && typeof app === "string") {
    return { command, app };
  }
  if (command === "pause" && typeof app === "string") {
    return { command, app, refuse: refuse === true };
  }
  if (command === "logs" && typeof app === "string" && isWhole(after, 0, Number.MAX_SAFE_INTEGER)) {
    return { command, app, after: Number(after) };
  }
  if (command === "detach" && Number.isSafeInteger(pid)) return { command, pid: Number(pid) };
  if (command === "set") return { command, change: parseChange(Object(change)) };
  throw new Error("the request is not known here");
}

/** What each limit may be: what the pool server takes, which ends whoever says more. */
const limits: { readonly [K in keyof Required<PoolChange>]: (value: unknown) => boolean } = {
  max: (value) => isWhole(value, 1, MAX_POOL_SIZE),
  maxPerApp: (value) => isWhole(value, 0, MAX_POOL_SIZE),
  maxIdleSeconds: (value) => isWhole(value, 0, MAX_IDLE_SECONDS),
  globalQueue: (value) => typeof value === "boolean",
};

function parseChange(given: Readonly<Record<string, unknown>>): PoolChange {
  const entries = Object.entries(given);
  if (entries.length === 0) throw new Error("set: there is nothing to change");
  for (const [key, value] of entries) {
    if (!Object.hasOwn(limits, key)) throw new Error(`set: '${key}' cannot be set`);
    if (!limits[key as keyof PoolChange](value)) {
      throw new Error(`set: ${key} cannot be ${JSON.stringify(value)}`);
    }
  }
  return given;
}

function isWhole(value: unknown, least: number, most: number): boolean {
  return Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most;
}
