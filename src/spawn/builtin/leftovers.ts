/**
 * What an instance or a preloader leaves behind in its process group when it has ended: programs it
 * started and did not wait for. They are ended too; for who makes a group or session of his own,
 * see strays.ts.
 *
 * However many there are, they cost two descriptors: the pidfd of the process that led the group,
 * which reaches all of them at once and never a stranger, and that of one that is waited for.
 */

import { orUndefined } from "../../native/errno.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { hasEnded, openPidfd, sendPidfdGroupSignal } from "../../native/pidfd.ts";
import { childrenOf, processNumbers, statOf } from "../../native/process-stat.ts";
import { hasDied } from "../our-children.ts";
import { endRemnant, type Remnant } from "../process-end.ts";

/** How many processes are looked at in one turn of the event loop: about a millisecond. */
const batch = 50;

/** The process group of an instance or preloader, by the pidfd of its leader. */
export class ProcessGroup implements Remnant {
  readonly #number: number;
  readonly #leader: OwnedFd;
  /** A member that runs, when it was looked last. */
  #held: OwnedFd | undefined;

  /** @param leader the pidfd of the process `number`; owned here from now on. */
  constructor(number: number, leader: OwnedFd) {
    this.#number = number;
    this.#leader = leader;
  }

  /** The pidfd of its leader; stays owned here. */
  get leader(): number {
    return this.#leader.number;
  }

  /** Whether a member runs. Costs one system call when none does, as nearly always. */
  async isThere(): Promise<boolean> {
    if (this.#held !== undefined && !hasEnded(this.#held.number)) return true;
    this.#held?.close();
    this.#held = this.signal(0) ? await this.#findMember() : undefined;
    return this.#held !== undefined;
  }

  /**
   * A member that runs. Who has lost his parent has become a child of ours as a rule, the latest
   * last; to look at all processes takes milliseconds.
   */
  async #findMember(): Promise<OwnedFd | undefined> {
    const orphan = await memberAmong(childrenOf("self").toReversed(), this.#number);
    // There may have been none but zombies, which have been reaped.
    if (orphan !== undefined || !this.signal(0)) return orphan;
    return await memberAmong(processNumbers(), this.#number);
  }

  /** Ends what is left of it once its leader has ended (endRemnant), and is closed. */
  async end(terminatedMs: number, hurry: AbortSignal): Promise<void> {
    await endRemnant(this, terminatedMs, hurry);
    this.#held?.close();
    this.#leader.close();
  }

  /** @returns whether there is anybody, zombies among them. */
  signal(signal: number): boolean {
    const { number } = this.#leader;
    // EPERM: there are some, of users that we may not signal.
    return orUndefined(() => sendPidfdGroupSignal(number, this.#number, signal)) ?? true;
  }
}

/** A member of the group that runs. */
async function memberAmong(pids: readonly number[], group: number): Promise<OwnedFd | undefined> {
  let looked = 0;
  for (const pid of pids) {
    if (isMember(pid, group)) {
      const member = orUndefined(() => openPidfd(pid));
      // It may have ended between the two looks, and another have its number.
      if (member !== undefined && isMember(pid, group)) return member;
      member?.close();
    }
    looked += 1;
    if (looked % batch === 0) await new Promise<void>((resolve) => void setImmediate(resolve));
  }
  return undefined;
}

function isMember(pid: number, group: number): boolean {
  const stat = statOf(pid);
  return stat?.group === group && !hasDied(pid, stat);
}
