/**
 * Reaps children that are nobody's: those of the program that became this one by execve, and every
 * orphan that is born of an application (spawn/builtin/strays.ts), or in a container as process 1.
 * Bun takes the end of what it has started within milliseconds; so a zombie seen at two looks, a
 * second apart, is a stranger.
 */
import { childrenOf, statOf } from "../native/process-stat.ts";
import { adoptOrphans, reap } from "../native/process.ts";

const lookAfterMs = 1_000;

let zombies: number[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

/** Call it before anything is started. It costs nothing while no child ends. */
export function reapStrangers(): void {
  adoptOrphans();
  process.on("SIGCHLD", lookLater);
  lookLater();
}

function lookLater(): void {
  timer ??= setTimeout(look, lookAfterMs);
  timer.unref();
}

function look(): void {
  timer = undefined;
  const seen = new Set(zombies);
  zombies = childrenOf("self").filter((pid) => statOf(pid)?.hasEnded === true);
  for (const pid of zombies.filter((zombie) => seen.has(zombie))) reap(pid);
  if (zombies.length > 0) lookLater();
}
