/** What /proc tells of processes (proc(5): stat, status, and children of a task). */
import { readdirSync, readFileSync } from "node:fs";

/** A short text of the kernel's; empty: there is none, or no descriptor free, or it is not ours. */
export function kernelText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** The numbers of all processes; none if no descriptor is free. */
export function processNumbers(): number[] {
  try {
    return readdirSync("/proc").map(Number).filter(Number.isInteger);
  } catch {
    return [];
  }
}

export interface ProcessStat {
  readonly parent: number;
  readonly group: number;
  /** A zombie: its parent has not asked for its end yet. */
  readonly hasEnded: boolean;
  /** It runs, or waits for nothing but a processor. */
  readonly isRunnable: boolean;
  /** What it has had of processors, in milliseconds. */
  readonly processorMs: number;
  /** When it was started, in ticks since the machine was: with its number, it is unmistakable. */
  readonly startedTicks: number;
}

/** A tick of stat's times: sysconf(3) _SC_CLK_TCK is 100 on every platform of ours. */
const clockTickMs = 10;
/** Places of utime and stime after the name. */
const [userTimeAt, systemTimeAt, startTimeAt] = [11, 12, 19];

/** Undefined when there is no such process. */
export function statOf(pid: number): ProcessStat | undefined {
  const stat = kernelText(`/proc/${pid}/stat`);
  if (stat === "") return undefined;
  // The name in parentheses may hold anything; it ends at the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, parent, group] = fields;
  return {
    parent: Number(parent),
    group: Number(group),
    hasEnded: state === "Z" || state === "X",
    isRunnable: state === "R",
    processorMs: (Number(fields[userTimeAt]) + Number(fields[systemTimeAt])) * clockTickMs,
    startedTicks: Number(fields[startTimeAt]),
  };
}

/** The memory of a process that lies in RAM, shared pages included; undefined: it is gone. */
export function residentBytesOf(pid: number): number | undefined {
  const [, kibibytes] = /^VmRSS:\s*([0-9]+) kB$/m.exec(kernelText(`/proc/${pid}/status`)) ?? [];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}

/** The user whose rights a process has; undefined: it is gone. */
export function effectiveUserOf(pid: number): number | undefined {
  const [, user] = /^Uid:\t[0-9]+\t([0-9]+)/m.exec(kernelText(`/proc/${pid}/status`)) ?? [];
  return user === undefined ? undefined : Number(user);
}

/** How many descriptors a process has open; undefined: it is gone, or not ours to look at. */
export function descriptorsOf(pid: number): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return undefined;
  }
}

/** The children of a process, whichever of its threads has started them; zombies too. */
export function childrenOf(pid: number | "self"): number[] {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    const texts = tasks.map((task) => kernelText(`/proc/${pid}/task/${task}/children`));
    return texts.join("").split(" ").filter(Boolean).map(Number);
  } catch {
    return []; // It has ended.
  }
}
