/** What of an application's table says how many processes it has, and when they are replaced. */
import {
  type InstanceOptions,
  MAX_INSTANCES,
  MAX_LIFE_MS,
  MAX_REQUESTS,
} from "../wire/configure.ts";
import { MIN_MEMORY_MAX } from "../wire/kernel-limits.ts";
import type { Table } from "./config-table.ts";

const count = { min: 0, max: MAX_INSTANCES };

export function readUpkeep(table: Table): InstanceOptions {
  const maxInstances = table.whole("max_instances", count, 0);
  const instances = table.has("instances") ? table.whole("instances", count, 0) : undefined;
  const most = instances ?? maxInstances;
  const minInstances = table.whole("min_instances", count, 0);
  const maxMemory = readMemory(table, "max_memory");
  const hardMemory = readMemory(table, "hard_memory");
  if (maxInstances > 0 && most > maxInstances) {
    table.wrong("instances", `is ${most}, more than max_instances, ${maxInstances}`);
  }
  if (most > 0 && minInstances > most) {
    table.wrong("min_instances", `is ${minInstances}, and there may be ${most}`);
  }
  if (hardMemory > 0 && maxMemory > hardMemory) {
    table.wrong("max_memory", "is more than hard_memory");
  }
  const mode = table.word("restart_mode", ["rolling", "at-once"], "rolling");
  return {
    maxInstances,
    instances,
    minInstances,
    maxIdleMs: table.has("idle_time") ? table.timeOrOff("idle_time", MAX_LIFE_MS, 0) : undefined,
    maxRequests: table.whole("max_requests", { min: 0, max: MAX_REQUESTS }, 0),
    maxMemory,
    hardMemory,
    maxAgeMs: table.timeOrOff("max_age", MAX_LIFE_MS, 0),
    restartMode: mode === "rolling" ? "rolling" : "atOnce",
  };
}

/** No process has less than a mebibyte: each would be replaced as soon as it is there. */
function readMemory(table: Table, key: string): number {
  const bytes = table.size(key, { min: 0, max: Number.MAX_SAFE_INTEGER }, 0);
  if (bytes > 0 && bytes < MIN_MEMORY_MAX) table.wrong(key, "is less than 1m; 0 is no limit");
  return bytes;
}
