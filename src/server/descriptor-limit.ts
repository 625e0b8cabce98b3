/**
 * RLIMIT_NOFILE: the server wants all it may have; its children get back what it was given.
 *
 * Bun raises the soft limit before the first line of ours runs and keeps no record of what it was.
 * The parent that executed us had the same limit unless it changed it in between, and the kernel
 * tells its limits (proc(5)): where its hard limit is ours, its soft limit is taken for what ours
 * was.
 */
import { kernelText } from "../native/process-stat.ts";
import { getDescriptorLimit, setDescriptorLimit, type DescriptorLimit } from "../native/process.ts";

/** Raises the soft limit to the hard one. @returns the limit children are to have. */
export function raiseDescriptorLimit(): DescriptorLimit {
  const found = getDescriptorLimit();
  if (found.soft < found.hard) {
    setDescriptorLimit({ soft: found.hard, hard: found.hard });
    return found;
  }
  const parent = limitOf(process.ppid);
  return parent !== undefined && parent.hard === found.hard ? parent : found;
}

/** Another process's limit; undefined when it cannot be told. */
function limitOf(pid: number): DescriptorLimit | undefined {
  const limits = kernelText(`/proc/${pid}/limits`);
  const [, soft, hard] = /^Max open files +(\d+) +(\d+) /m.exec(limits) ?? [];
  if (soft === undefined || hard === undefined) return undefined;
  return { soft: BigInt(soft), hard: BigInt(hard) };
}
