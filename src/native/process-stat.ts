/** What /proc tells of processes (proc(5): stat, and children of a task). */
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessStat {
  readonly parent: number;
  /** Its process group. */
  readonly group: number;
  /** A zombie: its parent has not asked for its end yet. */
  readonly hasEnded: boolean;
}

/** Undefined when there is no such process. */
export function statOf(pid: number): ProcessStat | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name in parentheses may hold anything; it ends at the last one.
  const [state, parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const hasEnded = state === "Z" || state === "X";
  return { parent: Number(parent), group: Number(group), hasEnded };
}

/** This process's children, whichever of its threads has started them; zombies too. */
export function ownChildren(): number[] {
  return readdirSync("/proc/self/task").flatMap((task) => {
    try {
      const text = readFileSync(`/proc/self/task/${task}/children`, "latin1");
      return text.split(" ").filter(Boolean).map(Number);
    } catch {
      return []; // The thread has ended.
    }
  });
}
