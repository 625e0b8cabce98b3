/**
 * Those options of `configure` that the kernel sees to: of an application with all that it starts
 * (cgroups(7)), and of each of its processes (getrlimit(2)). Only the built-in spawner heeds them.
 */

export interface KernelLimits {
  /** Bytes that all of it may use; beyond, the kernel ends a process of it. Absent: any number. */
  readonly memoryMax?: number | undefined;
  /** Its share of the processors where they are short, beside others; absent: 100. */
  readonly cpuWeight?: number | undefined;
  /** Processes and threads that it may have at once; absent: any number. */
  readonly tasksMax?: number | undefined;
  /** Of each process. */
  readonly limits?: ResourceLimits | undefined;
}

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

/** Whether its processes are to be in a group of their own. */
export function wantsGroup({ memoryMax, cpuWeight, tasksMax }: KernelLimits): boolean {
  return memoryMax !== undefined || cpuWeight !== undefined || tasksMax !== undefined;
}

/** Whether it is a soft limit and a hard one. */
export function isSoftAndHard(value: unknown): value is SoftAndHard {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [soft, hard] = value.map((limit: unknown) => (limit === -1 ? Infinity : limit));
  const areLimits = [soft, hard].every(
    (limit) => limit === Infinity || (Number.isSafeInteger(limit) && Number(limit) >= 0),
  );
  return areLimits && Number(soft) <= Number(hard);
}
