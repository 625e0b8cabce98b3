/**
 * What an instance or a preloader leaves behind in its process group when it has ended: programs it
 * started and did not wait for. They are ended too; who wants to outlive it makes a group or
 * session of its own.
 *
 * The instance is gone, so the number of its group could be a stranger's by now. It is not as long
 * as the group has members and no process has that number: a group is made by the process of its
 * number, and that process was the instance.
 */
import { readdirSync } from "node:fs";

import { SyscallError } from "../../native/errno.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { hasEnded, openPidfd, sendPidfdSignal } from "../../native/pidfd.ts";
import { sendSignal, signals } from "../../native/process.ts";
import { statOf } from "../../native/process-stat.ts";

/** How often it is looked whether they have gone, in milliseconds. */
const lookEveryMs = 50;

/**
 * Ends what is left of the group: SIGTERM, and SIGKILL to what is there after `terminatedMs`, or
 * as soon as there is a hurry. Costs one system call when nothing is left, as nearly always.
 * @param after returns when nobody needs what is left; who that is, is found out before it.
 */
export async function endLeftovers(
  group: number,
  terminatedMs: number,
  hurry: AbortSignal,
  after?: () => Promise<unknown>,
): Promise<void> {
  if (!hasMembers(group)) return;
  const members = openMembers(group);
  try {
    if (members.length > 0) await after?.();
    signalAll(members, signals.SIGTERM);
    const until = performance.now() + terminatedMs;
    while (members.some(({ number }) => !hasEnded(number))) {
      if (performance.now() >= until || hurry.aborted) break;
      await Bun.sleep(lookEveryMs);
    }
    signalAll(members, signals.SIGKILL);
  } finally {
    for (const member of members) member.close();
  }
}

function signalAll(members: readonly OwnedFd[], signal: number): void {
  for (const { number } of members) ignoringErrors(() => sendPidfdSignal(number, signal));
}

function hasMembers(group: number): boolean {
  return ignoringErrors(() => sendSignal(-group, 0)) ?? true; // EPERM: of another user.
}

function openMembers(group: number): OwnedFd[] {
  const members: OwnedFd[] = [];
  for (const pid of processes()) {
    if (!isMember(pid, group)) continue;
    const member = ignoringErrors(() => openPidfd(pid));
    if (member === undefined) continue;
    // It may have ended between the two looks, and another have its number.
    if (isMember(pid, group)) members.push(member);
    else member.close();
  }
  if (statOf(group)?.hasEnded ?? true) return members;
  // A process of that number: the group is its own.
  for (const member of members) member.close();
  return [];
}

function processes(): number[] {
  try {
    return readdirSync("/proc").map(Number).filter(Number.isInteger);
  } catch {
    return []; // No descriptor is free: nobody can be signalled safely.
  }
}

function isMember(pid: number, group: number): boolean {
  const stat = statOf(pid);
  return stat?.group === group && !stat.hasEnded;
}

function ignoringErrors<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}
