/**
 * Processes that this server has started itself. Every other child of ours was born of one of
 * those, and has come to us when its parent ended.
 */
import type { Subprocess } from "bun";

import type { ProcessStat } from "../native/process-stat.ts";
import { reap } from "../native/process.ts";
import { takeEnd } from "../native/start-program.ts";

const ours = new Set<number>();

/** Of ours those that Bun knows nothing of, and who is told how each has ended. */
const unreaped = new Map<number, (status: number) => void>();

let isListening = false;

/** To be called in the turn of the event loop in which it was started. */
export function noteChild(child: Subprocess): void {
  const { pid } = child;
  ours.add(pid);
  void child.exited.then(() => ours.delete(pid));
}

/**
 * The same for one that Bun does not reap.
 * @param onEnd is told its exit code, or minus the number of the signal that ended it.
 */
export function reapChild(pid: number, onEnd: (status: number) => void): void {
  ours.add(pid);
  unreaped.set(pid, onEnd);
  if (isListening) return;
  // For good: an end that comes while a handler is taken away and set again would be lost.
  isListening = true;
  process.on("SIGCHLD", takeEnds);
  setImmediate(takeEnds); // It may have ended before.
}

/** Takes the ends that have come by now. Signals merge: each may stand for several. */
export function takeEnds(): void {
  for (const [pid, onEnd] of unreaped) {
    const status = takeEnd(pid);
    if (status === undefined) continue;
    ours.delete(pid);
    unreaped.delete(pid);
    onEnd(status);
  }
}

export function isOurChild(pid: number): boolean {
  return ours.has(pid);
}

/** Whether it has ended; a zombie of ours whose end nobody else takes is reaped. */
export function hasDied(pid: number, stat: ProcessStat): boolean {
  if (stat.hasEnded && stat.parent === process.pid && !isOurChild(pid)) reap(pid);
  return stat.hasEnded;
}
