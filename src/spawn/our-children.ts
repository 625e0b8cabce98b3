/**
 * Processes that this server has started itself, and that Bun reaps. Every other child of ours was
 * born of one of those, and has come to us when its parent ended.
 */
import type { Subprocess } from "bun";

const ours = new Set<number>();

/** To be called in the turn of the event loop in which it was started. */
export function noteChild(child: Subprocess): void {
  const { pid } = child;
  ours.add(pid);
  void forget(child.exited, pid);
}

export function isOurChild(pid: number): boolean {
  return ours.has(pid);
}

async function forget(exited: Promise<unknown>, pid: number): Promise<void> {
  await exited;
  ours.delete(pid);
}
