/**
 * What instances and preloaders have started and that has left their process groups: by setsid(2),
 * or by a second fork, so that not even a parent shows whose it is. The server is the subreaper of
 * all of them (PR_SET_CHILD_SUBREAPER): what loses its parent becomes its child.
 *
 * When an instance ends, what descended from it at that moment is ended. An orphan is ended when
 * nothing else of its user, of what the server has started, is left: a daemon that several
 * instances of one user share lives as long as the last of them. Processes are looked at and
 * signalled one after the other, by pidfd; how many there are costs time, not descriptors.
 */
import { orUndefined } from "../../native/errno.ts";
import { openPidfd, sendPidfdSignal } from "../../native/pidfd.ts";
import { childrenOf, kernelText, statOf } from "../../native/process-stat.ts";
import { adoptsOrphans } from "../../native/process.ts";
import { hasDied, isOurChild } from "../our-children.ts";
import { endRemnant } from "../process-end.ts";

/** More of one instance are looked for in vain: it forks faster than it can be followed. */
const maxFamily = 10_000;

/** Tells a process from a later one of its number. */
export interface Kin {
  readonly pid: number;
  readonly startedTicks: number;
}

export class Strays {
  /** User ids of what the server has started, by process id; several starts may be on their way. */
  readonly #users = new Map<number, number>();
  /** Descendants of instances that are ending. */
  readonly #families = new Map<number, Kin[]>();

  /** An instance or a preloader that runs as this user. */
  enter(pid: number, user: number): void {
    this.#users.set(pid, user);
  }

  /** The instance is to end: who descends from it is remembered. */
  readonly ending = (pid: number): void => {
    if (this.#users.has(pid)) this.#families.set(pid, descendantsOf(pid));
  };

  /** It has ended: what it leaves is ended too. */
  async leave(pid: number, terminatedMs: number, hurry: AbortSignal): Promise<void> {
    const user = this.#users.get(pid);
    const family = this.#families.get(pid) ?? [];
    this.#users.delete(pid);
    this.#families.delete(pid);
    // Asked at each look: another of that user may have started meanwhile.
    const isLast = () => user !== undefined && ![...this.#users.values()].includes(user);
    const left = () => [
      ...family.filter(isRunning),
      ...(isLast() ? this.#orphans().filter((orphan) => userOf(orphan.pid) === user) : []),
    ];
    await endAll(left, terminatedMs, hurry);
  }

  /** Ends all orphans, without much ado: the server ends. */
  async close(limitMs: number): Promise<void> {
    await endAll(() => this.#orphans(), limitMs, new AbortController().signal);
  }

  /** All that is known now: for who ends them when the server has gone. */
  get all(): Kin[] {
    return [...this.#orphans(), ...[...this.#families.values()].flat().filter(isRunning)];
  }

  /**
   * Children of ours that we have not started, with their descendants. Who does not adopt has none:
   * there the rest are children of whoever else is in this process.
   */
  #orphans(): Kin[] {
    if (!adoptsOrphans()) return [];
    const strangers = childrenOf("self").filter((pid) => !isOurChild(pid) && !this.#users.has(pid));
    return strangers.flatMap((pid) => [kinOf(pid) ?? [], descendantsOf(pid)].flat());
  }
}

/** Ends those of them that are still there. */
export async function endStrays(
  strays: readonly Kin[],
  terminatedMs: number,
  hurry: AbortSignal,
): Promise<void> {
  await endAll(() => strays.filter(isRunning), terminatedMs, hurry);
}

async function endAll(left: () => Kin[], terminatedMs: number, hurry: AbortSignal): Promise<void> {
  let there: Kin[] = [];
  const isThere = () => (there = left()).length > 0;
  await endRemnant({ isThere, signal: (signal) => signalAll(there, signal) }, terminatedMs, hurry);
}

/** All that descends from a process, children before their children. */
function descendantsOf(pid: number): Kin[] {
  const family: Kin[] = [];
  const parents = [pid];
  for (const parent of parents) {
    if (parents.length > maxFamily) break;
    for (const child of childrenOf(parent)) {
      const kin = kinOf(child);
      if (kin === undefined) continue;
      family.push(kin);
      parents.push(child);
    }
  }
  return family;
}

/** Undefined when it has ended. */
function kinOf(pid: number): Kin | undefined {
  const stat = statOf(pid);
  if (stat === undefined || hasDied(pid, stat)) return undefined;
  return { pid, startedTicks: stat.startedTicks };
}

function isRunning({ pid, startedTicks }: Kin): boolean {
  return kinOf(pid)?.startedTicks === startedTicks;
}

/** Its real user id. */
function userOf(pid: number): number | undefined {
  const [, user] = /^Uid:\s*(\d+)/m.exec(kernelText(`/proc/${pid}/status`)) ?? [];
  return user === undefined ? undefined : Number(user);
}

function signalAll(all: readonly Kin[], signal: number): void {
  for (const kin of all) {
    // Nothing is done where no descriptor is free, or to a user that we may not signal.
    orUndefined(() => {
      using pidfd = openPidfd(kin.pid);
      // It may have ended since it was seen, and another have its number.
      if (pidfd !== undefined && isRunning(kin)) sendPidfdSignal(pidfd.number, signal);
    });
  }
}
