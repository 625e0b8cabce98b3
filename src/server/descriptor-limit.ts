/** RLIMIT_NOFILE: the server wants all it may have; its children get back what it was given. */
import { readFileSync } from "node:fs";

import { getDescriptorLimit, setDescriptorLimit, type DescriptorLimit } from "../native/process.ts";

/** Raises the soft limit to the hard one. @returns the limit as it was given to this process. */
export function raiseDescriptorLimit(): DescriptorLimit {
  const found = getDescriptorLimit();
  if (found.soft < found.hard) {
    setDescriptorLimit({ soft: found.hard, hard: found.hard });
    return found;
  }
  return { soft: softLimitOfParent(found.hard) ?? found.soft, hard: found.hard };
}

/**
 * The runtime has raised our soft limit before our first line ran. We inherited it from our parent, who still shows it
 * (proc(5)), unless something on the way changed both.
 */
function softLimitOfParent(ourHard: bigint): bigint | undefined {
  try {
    const limits = readFileSync(`/proc/${process.ppid}/limits`, "latin1");
    const [, soft, hard] = /^Max open files +([0-9]+) +([0-9]+)/m.exec(limits) ?? [];
    if (soft === undefined || hard === undefined || BigInt(hard) !== ourHard) return undefined;
    return BigInt(soft);
  } catch {
    return undefined; // The parent is gone, or somebody else's.
  }
}
