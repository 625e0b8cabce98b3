/**
 * Reaps children that are nobody's: those of the program that became this one by execve (a script,
 * or the supervisor of another version), and every orphan that comes here: in a container as
 * process 1, or to the pool server, of an application (spawn/builtin/strays.ts).
 * Bun takes the end of what it has started within milliseconds; so a zombie seen at two looks, a
 * second apart, is a stranger.
 */
import { childrenOf, statOf } from "../native/process-stat.ts";
import { reap } from "../native/process.ts";

const lookAfterMs = 1_000;

let zombies: number[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

/** From now on. It costs nothing while no child ends. */
export function reapStrangers(): void {
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
