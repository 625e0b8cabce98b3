/**
 * Those options of `configure` that the kernel sees to: of an application with all that it starts
 * (cgroups(7)), and of each of its processes (getrlimit(2)). Only the built-in spawner heeds them.
 */
import { object, type OptionsOf, OptionsError, show, whole } from "./option-readers.ts";

/** How much a process may have, by getrlimit(2): cpuTime in seconds, sizes in bytes. */
export const limitNames = [
  ...(["openFiles", "processes", "core", "fileSize"] as const),
  ...(["addressSpace", "lockedMemory", "cpuTime"] as const),
];

export type LimitName = (typeof limitNames)[number];

/** -1: no limit. */
export type SoftAndHard = readonly [soft: number, hard: number];

export type ResourceLimits = { readonly [Name in LimitName]?: SoftAndHard | undefined };

/** A limit as the configuration names it: `memory_max`. */
export function keyOfLimit(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export const MAX_CPU_WEIGHT = 10_000;
/** As many as the kernel can number on any machine (proc(5), pid_max). */
export const MAX_TASKS = 2 ** 22;
/** Below it nothing starts: what is meant is another unit. */
export const MIN_MEMORY_MAX = 2 ** 20;

export const kernelReaders = {
  /** Bytes that all of it may use; beyond, the kernel ends a process of it. Absent: any number. */
  memoryMax: whole(MIN_MEMORY_MAX, Number.MAX_SAFE_INTEGER),
  /** Its share of the processors where they are short, beside others; absent: 100. */
  cpuWeight: whole(1, MAX_CPU_WEIGHT),
  /** Processes and threads that it may have at once; absent: any number. */
  tasksMax: whole(1, MAX_TASKS),
  /** Of each process. */
  limits: resourceLimits,
};

export type KernelLimits = OptionsOf<typeof kernelReaders>;

function resourceLimits(key: string, value: unknown): ResourceLimits {
  for (const [name, limit] of Object.entries(object(key, value))) {
    const isKnown = (limitNames as readonly string[]).includes(name);
    if (isKnown && isSoftAndHard(limit)) continue;
    const why = isKnown ? "no [soft, hard]" : `none of ${limitNames.join(", ")}`;
    throw new OptionsError(`configure: ${key}: ${show(name)} is ${why}`);
  }
  return value as ResourceLimits;
}

/** Whether its processes are to be in a group of their own. */
export function wantsGroup({ memoryMax, cpuWeight, tasksMax }: KernelLimits): boolean {
  return memoryMax !== undefined || cpuWeight !== undefined || tasksMax !== undefined;
}

export function isSoftAndHard(value: unknown): value is SoftAndHard {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [soft, hard] = value.map((limit: unknown) => (limit === -1 ? Infinity : limit));
  const areLimits = [soft, hard].every(
    (limit) => limit === Infinity || (Number.isSafeInteger(limit) && Number(limit) >= 0),
  );
  return areLimits && Number(soft) <= Number(hard);
}
