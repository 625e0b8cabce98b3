/** What of an application's table the kernel is to see to: its share, and `[apps.limits]`. */
import {
  isSoftAndHard,
  keyOfLimit,
  type KernelLimits,
  type LimitName,
  MAX_CPU_WEIGHT,
  MAX_TASKS,
  MIN_MEMORY_MAX,
  type SoftAndHard,
} from "../wire/kernel-limits.ts";
import { show, type Table } from "./config-table.ts";
import { parseSize, parseTime } from "./units.ts";

type Parse = (text: string) => number | undefined;

const parseCount: Parse = (text) => (/^[0-9]{1,12}$/.test(text) ? Number(text) : undefined);
const parseSeconds: Parse = (text) => Math.ceil((parseTime(text) ?? Number.NaN) / 1000);

const kinds: readonly (readonly [name: LimitName, parse: Parse, example: string])[] = [
  ["openFiles", parseCount, "1024"],
  ["processes", parseCount, "100"],
  ["core", parseSize, '"0"'],
  ["fileSize", parseSize, '"1g"'],
  ["addressSpace", parseSize, '"2g"'],
  ["lockedMemory", parseSize, '"64k"'],
  ["cpuTime", parseSeconds, '"10m"'],
];

export function readKernelLimits(table: Table): KernelLimits {
  const bounds = { min: MIN_MEMORY_MAX, max: Number.MAX_SAFE_INTEGER };
  const whole = (key: string, max: number) =>
    table.has(key) ? table.whole(key, { min: 1, max }, 1) : undefined;
  const section = table.table("limits");
  const limits = kinds.flatMap(([name, parse, example]) => {
    const key = keyOfLimit(name);
    return section.has(key) ? [[name, readLimit(section, key, parse, example)] as const] : [];
  });
  section.finish();
  return {
    memoryMax: table.has("memory_max") ? table.size("memory_max", bounds, bounds.max) : undefined,
    cpuWeight: whole("cpu_weight", MAX_CPU_WEIGHT),
    tasksMax: whole("tasks_max", MAX_TASKS),
    limits: limits.length === 0 ? undefined : Object.fromEntries(limits),
  };
}

/** One for both, or `SOFT:HARD`, as systemd has it (systemd.exec(5)). */
function readLimit(section: Table, key: string, parse: Parse, example: string): SoftAndHard {
  const unlimited: SoftAndHard = [-1, -1];
  return section.read(key, unlimited, (value) => {
    const parts = Array.isArray(value) ? [] : String(value).split(":");
    const limits = parts.map((text) => (text === "unlimited" ? -1 : parse(text)));
    const both = limits.length === 1 ? [limits[0], limits[0]] : limits;
    if (isSoftAndHard(both)) return { value: both };
    if (isSoftAndHard(both.toReversed())) {
      return { why: `is ${show(value)}: the soft limit is above the hard one` };
    }
    const forms = `${example}, "SOFT:HARD" or "unlimited"`;
    return { why: `is ${show(value)}, not a limit such as ${forms}` };
  });
}
