/**
 * Instances whose preloader is gone: nobody reports their end any more, so it is looked for, twice
 * a second while there are any. (Most ends show sooner, by the lifeline.)
 */
import type { ForkedProcess } from "./running-process.ts";

const lookEveryMs = 500;

const orphans = new Set<ForkedProcess>();
let timer: ReturnType<typeof setInterval> | undefined;

/** Looks for the end of a process until it has come. */
export function lookAfter(forked: ForkedProcess): void {
  if (forked.hasEnded()) return;
  orphans.add(forked);
  timer ??= setInterval(look, lookEveryMs);
}

function look(): void {
  for (const orphan of orphans) {
    if (orphan.hasEnded()) orphans.delete(orphan);
  }
  if (orphans.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
