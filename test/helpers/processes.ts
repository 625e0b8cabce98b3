/**
 * Processes as the kernel shows them (proc(5)): whose children, in what state, started with which
 * mark.
 */
import { readdirSync, readFileSync } from "node:fs";

import { until } from "./condition.ts";

export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  /** One letter: R, S, D, T, Z … */
  readonly state: string;
  readonly command: string;
}

/** What there is to know of a process; undefined when there is none. */
export function processFacts(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name is in parentheses and may hold anything, parentheses too.
    const [state = "?", parent = "0"] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
    return { pid, parent: Number(parent), state, command };
  } catch {
    return undefined;
  }
}

export function allProcesses(): ProcessFacts[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((name) => processFacts(Number(name)) ?? []);
}

/** Children of a process, zombies too. */
export function childrenOf(pid: number): ProcessFacts[] {
  return allProcesses().filter(({ parent }) => parent === pid);
}

/**
 * Whether a server has it look at applications' files (src/spawn/files-aside.ts). Where a mount may
 * hang, as on many a desktop, it stays for a while.
 */
export function looksAtFiles({ command }: ProcessFacts): boolean {
  return command.endsWith(" files");
}

/** The id of a process that must be there: signals to 0 would go to the tests themselves. */
export function pidOf(found: { readonly pid: number | undefined } | undefined): number {
  if (found?.pid === undefined) throw new Error("there is no such process");
  return found.pid;
}

/** Whether a process runs: there is one, and it is no zombie. */
export function isRunning(pid: number): boolean {
  const facts = processFacts(pid);
  return facts !== undefined && facts.state !== "Z" && facts.state !== "X";
}

/** Whether a process has a handler for a signal (proc(5) status, SigCgt). */
export function handles(pid: number, signal: number): boolean {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const caught = BigInt(`0x${/^SigCgt:\s*(\w+)/m.exec(status)?.[1] ?? "0"}`);
  return ((caught >> BigInt(signal - 1)) & 1n) === 1n;
}

/**
 * How many threads a process has, a zombie's last one included. While there are others its
 * descriptors are open, a listener among them, though its first thread be dead.
 */
export function threadsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0;
  }
}

/** Waits until a process is gone, and the kernel has closed what it held. */
export async function untilGone(pid: number): Promise<void> {
  await until(`process ${pid} is gone`, () => !isRunning(pid) && threadsOf(pid) <= 1);
}

/** Kills a process, and waits until it is gone. */
export async function kill(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await untilGone(pid);
}

/**
 * The variable by which everything that one test's server started, however indirectly, is found
 * again.
 */
export const markVariable = "POOL_TEST_MARK";

/** Processes whose environment says they descend from the server of that mark. */
export function markedProcesses(mark: string): ProcessFacts[] {
  const wanted = `${markVariable}=${mark}\0`;
  return allProcesses().filter(({ pid }) => {
    if (pid === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").includes(wanted);
    } catch {
      return false; // Gone, a zombie, or somebody else's.
    }
  });
}
