/** What may be asked of a gateway that runs: the requests of its control socket. */
import type { PoolConfig } from "../config.ts";

export type ControlRequest =
  | { readonly command: "status" | "reload" | "stop" | "reopen-logs" }
  /** Applications go by their names. */
  | { readonly command: "restart" | "resume"; readonly app: string }
  /** `refuse`: requests are answered 503 meanwhile, rather than wait. */
  | { readonly command: "pause"; readonly app: string; readonly refuse: boolean }
  | { readonly command: "detach"; readonly pid: number }
  /** Limits of the pool, as far as they are to change. */
  | { readonly command: "set"; readonly change: PoolChange };

export type PoolChange = Partial<Omit<PoolConfig, "maxQueue">>;

const alone = ["status", "reload", "stop", "reopen-logs"] as const;

/** @throws Error when the line is no request. */
export function parseControlRequest(line: string): ControlRequest {
  let given: unknown;
  try {
    given = JSON.parse(line);
  } catch (cause) {
    throw new Error("the request is not JSON", { cause });
  }
  const { command, app, refuse, pid, change } = Object(given) as Record<string, unknown>;
  const word = alone.find((known) => known === command);
  if (word !== undefined) return { command: word };
  if ((command === "restart" || command === "resume") && typeof app === "string") {
    return { command, app };
  }
  if (command === "pause" && typeof app === "string") {
    return { command, app, refuse: refuse === true };
  }
  if (command === "detach" && Number.isSafeInteger(pid)) return { command, pid: Number(pid) };
  if (command === "set") return { command, change: parseChange(Object(change)) };
  throw new Error("the request is not known here");
}

function parseChange(given: Record<string, unknown>): PoolChange {
  const { max, maxPerApp, maxIdleSeconds, globalQueue } = given;
  return {
    ...(isWhole(max, 1) ? { max } : {}),
    ...(isWhole(maxPerApp, 0) ? { maxPerApp } : {}),
    ...(isWhole(maxIdleSeconds, 0) ? { maxIdleSeconds } : {}),
    ...(typeof globalQueue === "boolean" ? { globalQueue } : {}),
  };
}

/** Its upper bounds are the command line's, and the pool server's, which refuses what is beyond. */
function isWhole(value: unknown, least: number): value is number {
  return Number.isSafeInteger(value) && Number(value) >= least;
}
