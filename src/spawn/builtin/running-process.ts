/**
 * A process of the built-in spawner, whoever its parent is: a child of ours, or one that a
 * preloader has forked. How to signal it without ever reaching a stranger, and how its end is seen.
 */
import { constants } from "node:os";

import { SyscallError } from "../../native/errno.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { duplicate } from "../../native/fd.ts";
import { hasEnded, openPidfd, sendPidfdGroupSignal, sendPidfdSignal } from "../../native/pidfd.ts";
import { sendSignal, signals } from "../../native/process.ts";
import { startProgram, type DirectStart } from "../../native/start-program.ts";
import { isOurChild, noteChild, reapChild, takeEnds } from "../our-children.ts";
import { exitText } from "../process-end.ts";
import { ProcessGroup } from "./leftovers.ts";

export interface RunningProcess {
  readonly pid: number;
  /** Resolves when its end has been seen; never rejects. */
  readonly exited: Promise<void>;
  /** How it ended, for a sentence; undefined while it runs. */
  readonly ending: string | undefined;
  /**
   * Its process group, for when it has ended itself; the callee's to close. Undefined when no
   * descriptor was free for it.
   */
  readonly group: ProcessGroup | undefined;
  /** Signals it and its process group; does nothing once its end has been seen. */
  signal(signal: number): void;
}

/** A child: until its end has been seen, neither its number nor its group's can be another's. */
export class ChildProcess implements RunningProcess {
  readonly #process: Bun.Subprocess;
  readonly exited: Promise<void>;
  readonly group: ProcessGroup | undefined;

  constructor(process: Bun.Subprocess) {
    this.#process = process;
    noteChild(process);
    this.group = groupOf(process.pid, () => openPidfd(process.pid));
    this.exited = this.#untilExited();
  }

  async #untilExited(): Promise<void> {
    await this.#process.exited;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get ending(): string | undefined {
    const { exitCode, signalCode } = this.#process;
    return exitCode === null && signalCode === null ? undefined : exitText(this.#process);
  }

  signal(signal: number): void {
    if (this.ending !== undefined) return;
    unlessForbidden(() => {
      // Before the launch command has made the group there is only the process.
      sendSignal(-this.pid, signal);
      // It may have left its group, or not have one yet.
      sendSignal(this.pid, signal);
    });
  }
}

/**
 * Starts a program without the launch command between. @returns undefined: that has to do it, since
 * no process or descriptor is to be had for this, or the program cannot be started so.
 */
export function startDirectly(
  program: DirectStart,
  descriptors: readonly [number, number, number, number],
): RunningProcess | undefined {
  const pid = startProgram(program, descriptors);
  if (pid === undefined) return undefined;
  try {
    const pidfd = openPidfd(pid); // There is one until its end has been taken.
    if (pidfd !== undefined) {
      const child = new ForkedProcess(pid, pidfd);
      reapChild(pid, (status) => child.reaped(status));
      return child;
    }
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
  }
  sendSignal(pid, signals.SIGKILL);
  reapChild(pid, () => {});
  return undefined;
}

/** Forked by a preloader, which reaps it, or by us: reached through its pidfd alone. */
export class ForkedProcess implements RunningProcess {
  readonly pid: number;
  readonly #pidfd: OwnedFd;
  readonly #exited = Promise.withResolvers<void>();
  readonly exited = this.#exited.promise;
  readonly group: ProcessGroup | undefined;
  #ending: string | undefined;

  /** @param pidfd is owned here from now on. */
  constructor(pid: number, pidfd: OwnedFd) {
    this.pid = pid;
    this.#pidfd = pidfd;
    this.group = groupOf(pid, () => duplicate(pidfd.number));
  }

  get ending(): string | undefined {
    return this.#ending;
  }

  signal(signal: number): void {
    if (this.hasEnded()) return;
    unlessForbidden(() => {
      sendPidfdGroupSignal(this.#pidfd.number, this.pid, signal);
      sendPidfdSignal(this.#pidfd.number, signal);
    });
  }

  /** Its parent has reaped it. @param status its exit code, or minus the signal's number. */
  reaped(status: number): void {
    const signalCode = status < 0 ? signalName(-status) : null;
    this.#end(exitText({ exitCode: status, signalCode }));
  }

  /** Looks itself: for when there is no preloader to say it. @returns whether it has ended. */
  hasEnded(): boolean {
    if (isOurChild(this.pid)) takeEnds();
    if (this.#ending === undefined && hasEnded(this.#pidfd.number)) this.#end("ended");
    return this.#ending !== undefined;
  }

  #end(text: string): void {
    if (this.#ending !== undefined) return;
    this.#ending = text;
    this.#pidfd.close();
    this.#exited.resolve();
  }
}

/**
 * One that was forked and has ended before it could be got hold of: what it has said and written is
 * still to be read. Its number may be another's.
 */
export function endedProcess(pid: number): RunningProcess {
  const exited = Promise.resolve();
  return { pid, exited, ending: "ended", group: undefined, signal: () => {} };
}

/** How often it is looked for the end of one that nobody reports. */
const lookEveryMs = 500;

const unreported = new Set<ForkedProcess>();
let timer: ReturnType<typeof setInterval> | undefined;

/**
 * Looks for the end of a process whose preloader is gone until it has come. (Most ends show sooner,
 * by the lifeline.)
 */
export function lookAfter(forked: ForkedProcess): void {
  if (forked.hasEnded()) return;
  unreported.add(forked);
  timer ??= setInterval(look, lookEveryMs);
}

function look(): void {
  for (const one of unreported) if (one.hasEnded()) unreported.delete(one);
  if (unreported.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

function groupOf(pid: number, open: () => OwnedFd | undefined): ProcessGroup | undefined {
  try {
    const leader = open();
    return leader && new ProcessGroup(pid, leader);
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** EPERM: it runs as a user we may not signal. Its lifeline is closed, which must do. */
function unlessForbidden(send: () => void): void {
  try {
    send();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
  }
}

function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `signal ${number}`;
}
