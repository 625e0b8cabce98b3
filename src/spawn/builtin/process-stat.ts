/** What /proc tells of any process (proc(5), stat). */
import { readFileSync } from "node:fs";

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
