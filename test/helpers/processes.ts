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
  const own = stateOf(pid);
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
    return own && { pid, ...own, command };
  } catch {
    return undefined;
  }
}

function stateOf(pid: number): Pick<ProcessFacts, "state" | "parent"> | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name is in parentheses and may hold anything, parentheses too.
    const [state = "?", parent = "0"] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** Stops a process. @returns when it is: until then it goes on, on a busy machine for a while. */
export async function stop(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  await until("it is stopped", () => stateOf(pid)?.state === "T");
}

/** Those for which this holds. Tests look again and again: of others nothing more is read. */
function processesThat(holds: (pid: number) => boolean): ProcessFacts[] {
  const pids = readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name));
  return pids
    .map(Number)
    .filter(holds)
    .flatMap((pid) => processFacts(pid) ?? []);
}

export function allProcesses(): ProcessFacts[] {
  return processesThat(() => true);
}

/** Children of a process, zombies too. */
export function childrenOf(pid: number): ProcessFacts[] {
  return processesThat((child) => stateOf(child)?.parent === pid);
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

/** Kills a process that may end by itself between the look that found it and this. */
export function killIfThere(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
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

/** What a process was started with, a NUL after each; nothing of one that is gone, or not ours. */
export function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return "";
  }
}

/** Processes whose environment says they descend from the server of that mark. */
export function markedProcesses(mark: string): ProcessFacts[] {
  const wanted = `${markVariable}=${mark}\0`;
  return processesThat((pid) => pid !== process.pid && environmentOf(pid).includes(wanted));
}
