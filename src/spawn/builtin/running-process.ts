/**
 * A process of the built-in spawner, whoever its parent is: a child of ours, or one that a
 * preloader has forked. It is reached through its pidfd alone, and so never a stranger.
 */
import { constants } from "node:os";

import { orUndefined } from "../../native/errno.ts";
import { duplicate } from "../../native/fd.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { hasEnded, openPidfd, sendPidfdGroupSignal, sendPidfdSignal } from "../../native/pidfd.ts";
import { sendSignal, signals } from "../../native/process.ts";
import { startProgram } from "../../native/start-program.ts";
import type { LaunchCommand } from "../launch-plan.ts";
import { isOurChild, noteChild, reapChild, takeEnds } from "../our-children.ts";
import { exitText } from "../process-end.ts";
import type { InheritedEnds } from "./instance-ends.ts";
import { ProcessGroup } from "./leftovers.ts";

export class RunningProcess {
  readonly pid: number;
  readonly #pidfd: OwnedFd | undefined;
  readonly #exited = Promise.withResolvers<void>();
  /** Resolves when its end has been seen; never rejects. */
  readonly exited = this.#exited.promise;
  /**
   * Its process group, for when it has ended itself; the callee's to close. Undefined when no
   * descriptor was free for it.
   */
  readonly group: ProcessGroup | undefined;
  /** How it ended, for a sentence; undefined while it runs. */
  ending: string | undefined;

  /**
   * @param pidfd is owned here from now on; undefined: it has ended before it could be got hold of,
   * and its number may be another's. What it has said and written is still to be read.
   */
  constructor(pid: number, pidfd: OwnedFd | undefined) {
    this.pid = pid;
    this.#pidfd = pidfd;
    const leader = pidfd && orUndefined(() => duplicate(pidfd.number));
    this.group = leader && new ProcessGroup(pid, leader);
    if (pidfd === undefined) this.ended("ended");
  }

  /** Signals it and its process group; does nothing once its end has been seen. */
  signal(signal: number): void {
    const pidfd = this.#pidfd;
    if (pidfd === undefined || this.hasEnded()) return;
    // EPERM: it runs as a user we may not signal. Its lifeline is closed, which must do.
    orUndefined(() => {
      sendPidfdGroupSignal(pidfd.number, this.pid, signal);
      // It may have left its group, or not have one yet.
      sendPidfdSignal(pidfd.number, signal);
    });
  }

  /** Its parent has reaped it. @param status its exit code, or minus the signal's number. */
  reaped(status: number): void {
    const signalCode = status < 0 ? signalName(-status) : null;
    this.ended(exitText({ exitCode: status, signalCode }));
  }

  /** Its end has been seen. @param how for a sentence. */
  ended(how: string): void {
    if (this.ending !== undefined) return;
    this.ending = how;
    this.#pidfd?.close();
    this.#exited.resolve();
  }

  /** Looks itself: for when there is no preloader to say it. @returns whether it has ended. */
  hasEnded(): boolean {
    if (isOurChild(this.pid)) takeEnds();
    else if (this.#pidfd?.open === true && hasEnded(this.#pidfd.number)) this.ended("ended");
    return this.ending !== undefined;
  }
}

/**
 * Starts a process with /dev/null, these descriptors as 1 to 4, and no others: by the launch
 * command where it cannot be done without. @throws Error: not even that can be started, or no
 * descriptor is free to reach it by.
 */
export function startProcess(
  { argv, env, direct }: LaunchCommand,
  { output: { number }, listener, lifeline }: InheritedEnds,
): RunningProcess {
  const descriptors = [number, number, listener.number, lifeline.number] as const;
  const pid = direct && startProgram(direct, descriptors);
  if (pid !== undefined) {
    let child: RunningProcess | undefined;
    reapChild(pid, (status) => child?.reaped(status));
    child = childOf(pid);
    return child;
  }
  const process = Bun.spawn(argv, { env, stdio: ["ignore", ...descriptors] });
  noteChild(process);
  const child = childOf(process.pid);
  void process.exited.then(() => child.ended(exitText(process)));
  return child;
}

/** @throws SyscallError: no descriptor is free for it, and it is ended. */
function childOf(pid: number): RunningProcess {
  try {
    return new RunningProcess(pid, openPidfd(pid));
  } catch (error) {
    sendSignal(pid, signals.SIGKILL);
    throw error;
  }
}

/** How often it is looked for the end of one that nobody reports. */
const lookEveryMs = 500;

const unreported = new Set<RunningProcess>();
let timer: ReturnType<typeof setInterval> | undefined;

/**
 * Looks for the end of a process whose preloader is gone until it has come. (Most ends show sooner,
 * by the lifeline.)
 */
export function lookAfter(forked: RunningProcess): void {
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

function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `signal ${number}`;
}
