/**
 * Reaps children that are nobody's: those of the program that became this one by execve, and as
 * process 1 (in a container) every orphan there is. Bun takes the end of what it has started within
 * milliseconds; so a zombie seen at two looks, a second apart, is a stranger.
 */
import { ownChildren, statOf } from "../native/process-stat.ts";
import { reap } from "../native/process.ts";

const lookEveryMs = 1_000;

/** Call it before anything is started. Costs nothing where there can be no strangers. */
export function reapStrangers(): void {
  const inherited = new Set(ownChildren());
  if (inherited.size === 0 && process.pid !== 1) return;
  let zombies: number[] = [];
  const timer = setInterval(() => {
    const seen = new Set(zombies);
    zombies = ownChildren().filter((pid) => statOf(pid)?.hasEnded === true);
    for (const pid of zombies.filter((zombie) => seen.has(zombie))) {
      reap(pid);
      inherited.delete(pid);
    }
    if (inherited.size === 0 && process.pid !== 1) clearInterval(timer);
  }, lookEveryMs);
  timer.unref();
}
