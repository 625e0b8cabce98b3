/** RLIMIT_NOFILE: the server wants all it may have; its children get back what it was given. */
import { getDescriptorLimit, setDescriptorLimit, type DescriptorLimit } from "../native/process.ts";

/** Raises the soft limit to the hard one. @returns the limit as it was. */
export function raiseDescriptorLimit(): DescriptorLimit {
  const original = getDescriptorLimit();
  if (original.soft < original.hard)
    setDescriptorLimit({ soft: original.hard, hard: original.hard });
  return original;
}
