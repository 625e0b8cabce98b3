/** What of an application's table says when its processes are started ahead, and replaced. */
import { MAX_INSTANCES, MAX_LIFE_MS, MAX_REQUESTS, type UpkeepOptions } from "../wire/configure.ts";
import type { Table } from "./config-table.ts";

const life = { min: 0, max: MAX_LIFE_MS };
const memory = { min: 0, max: Number.MAX_SAFE_INTEGER };

/** @param mostInstances what the application may have; 0: no limit. */
export function readUpkeep(table: Table, mostInstances: number): UpkeepOptions {
  const minInstances = table.whole("min_instances", { min: 0, max: MAX_INSTANCES }, 0);
  const maxMemory = table.size("max_memory", memory, 0);
  const hardMemory = table.size("hard_memory", memory, 0);
  if (mostInstances > 0 && minInstances > mostInstances) {
    table.wrong("min_instances", `is ${minInstances}, and there may be ${mostInstances}`);
  }
  if (hardMemory > 0 && maxMemory > hardMemory) {
    table.wrong("max_memory", "is more than hard_memory");
  }
  const mode = table.word("restart_mode", ["rolling", "at-once"], "rolling");
  return {
    minInstances,
    ...(table.has("idle_time") ? { maxIdleMs: table.time("idle_time", life, 0) } : {}),
    maxRequests: table.whole("max_requests", { min: 0, max: MAX_REQUESTS }, 0),
    maxMemory,
    hardMemory,
    maxAgeMs: table.time("max_age", life, 0),
    restartMode: mode === "rolling" ? "rolling" : "atOnce",
  };
}
