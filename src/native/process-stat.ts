/** What /proc tells of processes (proc(5): stat, and children of a task). */
import { readdirSync, readFileSync } from "node:fs";

interface ProcessStat {
  readonly parent: number;
  /** Its process group. */
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
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
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
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const [, kibibytes] = /^VmRSS:\s*([0-9]+) kB$/m.exec(status) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
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
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      childrenOfTask(`${pid}/task/${task}`),
    );
  } catch {
    return []; // It has ended.
  }
}

function childrenOfTask(task: string): number[] {
  try {
    const text = readFileSync(`/proc/${task}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number);
  } catch {
    return []; // The thread has ended.
  }
}
