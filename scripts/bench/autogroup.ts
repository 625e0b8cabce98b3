/**
 * The kernel's grouping of processes by session (sched(7), autogroup): sessions share the
 * processors, and then the processes of each. A server whose processes have sessions of their own
 * is scheduled otherwise than one that is a session as a whole; where systemd starts both, neither
 * is grouped so.
 */
import { readFileSync, writeFileSync } from "node:fs";

const SETTING = "/proc/sys/kernel/sched_autogroup_enabled";

/** Runs `work` without the grouping, where that can be had. @param say is told if it cannot. */
export async function withoutAutogroup<T>(
  say: (line: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const before = read();
  if (before !== "1") return work();
  try {
    writeFileSync(SETTING, "0");
  } catch {
    say("the kernel groups processes by session: only root can measure without that");
    return work();
  }
  try {
    return await work();
  } finally {
    writeFileSync(SETTING, before);
  }
}

function read(): string | undefined {
  try {
    return readFileSync(SETTING, "latin1").trim();
  } catch {
    return undefined; // A kernel without it.
  }
}
