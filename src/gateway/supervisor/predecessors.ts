/**
 * The workers and the pool server of the program that this process was before (succession.ts): our
 * children, of whom Bun knows nothing. They are told to leave once there are successors; the pool
 * server ends when the last of its workers has. Whoever takes too long is ended.
 */
import { writeSync } from "node:fs";

import { OwnedFd } from "../../native/owned-fd.ts";
import { sendSignal, signals } from "../../native/process.ts";
import { takeEnd } from "../../native/start-program.ts";
import { killDelayMs } from "./own-process.ts";
import { orderlyEndMs } from "./pool-keeper.ts";
import type { Succession } from "./succession.ts";

const lookMs = 100;

export class Predecessors {
  readonly #farewell: string;
  readonly #limitMs: number;
  /** Those that are left, with our ends of their control channels. */
  readonly #workers: Map<number, OwnedFd>;
  #poolServer: number | undefined;
  readonly #gone = Promise.withResolvers<void>();
  /** Resolves when none of them is left. */
  readonly gone = this.#gone.promise;
  #timer: ReturnType<typeof setInterval> | undefined;
  #killAtMs = Infinity;
  #poolKillAtMs = Infinity;

  constructor(succession: Succession | undefined) {
    const { workers = [], poolServer = null, farewell = "", limitMs = 0 } = succession ?? {};
    this.#farewell = farewell;
    this.#limitMs = limitMs;
    this.#workers = new Map(workers.map(({ pid, control }) => [pid, new OwnedFd(control)]));
    this.#poolServer = poolServer ?? undefined;
    if (this.#areGone) this.#gone.resolve();
  }

  get pids(): number[] {
    const pool = this.#poolServer;
    return [...this.#workers.keys(), ...(pool === undefined ? [] : [pool])];
  }

  /** Has them leave, once: others serve now. */
  dismiss(): void {
    if (this.#areGone || this.#timer !== undefined) return;
    for (const control of this.#workers.values()) {
      try {
        writeSync(control.number, this.#farewell);
      } catch {
        // It is gone, or does not read: its end, or the limit, is seen below.
      }
    }
    this.#killAtMs = performance.now() + this.#limitMs + killDelayMs;
    this.#timer = setInterval(() => this.#look(), lookMs);
  }

  /** Has them leave within so many milliseconds. @returns when they are gone. */
  async hurry(limitMs: number): Promise<void> {
    this.dismiss();
    // To them, their supervisor is gone: nobody's idle connection is kept any longer.
    for (const control of this.#workers.values()) control.close();
    this.#killAtMs = Math.min(this.#killAtMs, performance.now() + limitMs);
    await this.gone;
  }

  get #areGone(): boolean {
    return this.#workers.size === 0 && this.#poolServer === undefined;
  }

  #look(): void {
    const nowMs = performance.now();
    for (const [pid, control] of this.#workers) {
      if (takeEnd(pid) !== undefined) {
        control.close();
        this.#workers.delete(pid);
      } else if (nowMs >= this.#killAtMs) sendSignal(pid, signals.SIGKILL);
    }
    if (this.#workers.size === 0 && this.#poolServer !== undefined) {
      this.#endPoolServer(this.#poolServer, nowMs);
    }
    if (!this.#areGone) return;
    clearInterval(this.#timer);
    this.#gone.resolve();
  }

  /** It has seen that its last client is gone; SIGTERM is for one that has not. */
  #endPoolServer(pid: number, nowMs: number): void {
    if (takeEnd(pid) !== undefined) this.#poolServer = undefined;
    else if (this.#poolKillAtMs === Infinity) {
      this.#poolKillAtMs = nowMs + orderlyEndMs;
      sendSignal(pid, signals.SIGTERM);
    } else if (nowMs >= this.#poolKillAtMs) sendSignal(pid, signals.SIGKILL);
  }
}
