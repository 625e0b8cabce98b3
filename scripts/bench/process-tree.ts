/** Processes as proc(5) shows them: who descends from whom, and how much memory they take. */
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  /** In clock ticks since the machine started: with the pid, a name for ever. */
  readonly startTime: string;
}

function factsOf(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name is in parentheses and may hold anything, parentheses too.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state = "?", parent = "0"] = fields;
    return { pid, parent: Number(parent), state, startTime: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

function allProcesses(): ProcessFacts[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => factsOf(Number(pid)) ?? []);
}

/** The processes of these pids that run, and all that descend from them. */
export function withDescendants(roots: readonly number[]): ProcessFacts[] {
  const all = allProcesses();
  const found = new Map(all.filter(({ pid }) => roots.includes(pid)).map((it) => [it.pid, it]));
  for (let before = -1; before < found.size;) {
    before = found.size;
    for (const facts of all) if (found.has(facts.parent)) found.set(facts.pid, facts);
  }
  return [...found.values()];
}

export function isStill({ pid, startTime }: ProcessFacts): boolean {
  const now = factsOf(pid);
  return now !== undefined && now.startTime === startTime && now.state !== "Z";
}

/** Proportional memory (PSS) of those that still run, in KiB (smaps_rollup). */
export function pssKiB(processes: readonly ProcessFacts[]): number {
  return processes
    .filter(isStill)
    .map(({ pid }) => {
      try {
        const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
        return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
      } catch {
        return 0; // Ended while we looked.
      }
    })
    .reduce((sum, kiB) => sum + kiB, 0);
}

/** A process's command line, its words with blanks between them; empty when it has ended. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return ""; // Ended while we looked.
  }
}
