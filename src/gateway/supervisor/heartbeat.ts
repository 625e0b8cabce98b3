/**
 * Heartbeat: whether a process of ours still answers. A hang is no death: nothing closes, nothing
 * is reaped, and whoever waits for it waits for ever. Rules:
 * - The process is asked at every tick and has to have answered before the limit. Any word of it
 *   counts.
 * - Silence is what this process has seen of it, not what a clock says: a tick that comes late (the
 *   machine slept, this process was stopped or starved) counts as little more than one in time.
 * - One that could run and gets no processor is starved, not hanging, and has three times as long.
 */
import { statOf } from "../../native/process-stat.ts";

/** How often a process is asked: several times within the shortest sensible limit. */
const everyMs = 2_000;
/** Ticks within a limit, where that is short. */
const leastTicks = 5;
/** What a tick counts for at most, in ticks. */
const lateTicks = 1.5;
/** A process that had less than this part of the time it was silent for, was starved. */
const starvedShare = 0.1;
const starvedPatience = 3;

interface HeartbeatOptions {
  readonly pid: number;
  /** How long it may be silent, in milliseconds; 0: for ever. */
  readonly limitMs: number;
  /** Asks it something that it answers at once. */
  ask(): void;
  /** It has been silent for too long. Called once. */
  dead(silentMs: number): void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #tickMs: number;
  readonly #timer: ReturnType<typeof setInterval>;
  #lastTickMs = performance.now();
  #silentMs = 0;
  #isAsked = false;
  #askedMs = 0;
  #lagMs: number | undefined;
  /** Its processor time when it fell silent. */
  #processorMs = 0;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    const { limitMs } = options;
    this.#tickMs = limitMs === 0 ? everyMs : Math.min(everyMs, limitMs / leastTicks);
    this.#timer = setInterval(() => this.#tick(), this.#tickMs);
    this.#timer.unref();
    this.#askAnew();
  }

  /** Whether it has answered of late: the last question, or the one before. */
  get answers(): boolean {
    return this.#silentMs < 2 * lateTicks * this.#tickMs;
  }

  /** Whether a question is without its answer. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** How long it took to answer last, in milliseconds: what its event loop was at meanwhile. */
  get lagMs(): number | undefined {
    return this.#lagMs;
  }

  /** It has said something. */
  heard(): void {
    if (this.#isAsked) this.#lagMs = performance.now() - this.#askedMs;
    this.#isAsked = false;
    this.#silentMs = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    const passedMs = Math.min(nowMs - this.#lastTickMs, lateTicks * this.#tickMs);
    this.#lastTickMs = nowMs;
    if (!this.#isAsked) return this.#askAnew();
    const { pid } = this.#options;
    if (this.#silentMs === 0) this.#processorMs = statOf(pid)?.processorMs ?? 0;
    this.#silentMs += passedMs;
    const { limitMs } = this.#options;
    if (limitMs === 0 || this.#silentMs < limitMs) return;
    if (this.#silentMs < starvedPatience * limitMs && this.#isStarved()) return;
    this.stop();
    this.#options.dead(Math.round(this.#silentMs));
  }

  #askAnew(): void {
    this.#isAsked = true;
    this.#askedMs = performance.now();
    this.#options.ask();
  }

  #isStarved(): boolean {
    const stat = statOf(this.#options.pid);
    if (stat?.isRunnable !== true) return false;
    return stat.processorMs - this.#processorMs < starvedShare * this.#silentMs;
  }
}
