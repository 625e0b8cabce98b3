/**
 * A process of the built-in spawner, whoever its parent is: a child of ours, or one that a
 * preloader has forked. How to signal it without ever reaching a stranger, and how its end is seen.
 */
import { constants } from "node:os";

import { SyscallError } from "../../native/errno.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { hasEnded, sendPidfdGroupSignal, sendPidfdSignal } from "../../native/pidfd.ts";
import { sendSignal } from "../../native/process.ts";
import { exitText } from "../process-end.ts";

export interface RunningProcess {
  readonly pid: number;
  /** Resolves when its end has been seen; never rejects. */
  readonly exited: Promise<void>;
  /** How it ended, for a sentence; undefined while it runs. */
  readonly ending: string | undefined;
  /** Signals it and its process group; does nothing once its end has been seen. */
  signal(signal: number): void;
}

/** A child: until its end has been seen, neither its number nor its group's can be another's. */
export class ChildProcess implements RunningProcess {
  readonly #process: Bun.Subprocess;
  readonly exited: Promise<void>;

  constructor(process: Bun.Subprocess) {
    this.#process = process;
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

/** Forked by a preloader, which reaps it: reached through its pidfd alone. */
export class ForkedProcess implements RunningProcess {
  readonly pid: number;
  readonly #pidfd: OwnedFd;
  readonly #exited = Promise.withResolvers<void>();
  #ending: string | undefined;

  /** @param pidfd is owned here from now on. */
  constructor(pid: number, pidfd: OwnedFd) {
    this.pid = pid;
    this.#pidfd = pidfd;
  }

  get exited(): Promise<void> {
    return this.#exited.promise;
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

  /** Its preloader has reaped it. @param status its exit code, or minus the signal's number. */
  reaped(status: number): void {
    const signalCode = status < 0 ? signalName(-status) : null;
    this.#end(exitText({ exitCode: status, signalCode }));
  }

  /** Looks itself: for when there is no preloader to say it. @returns whether it has ended. */
  hasEnded(): boolean {
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
