/**
 * The workers that serve one configuration: as many as it asks for, each replaced when it dies or
 * asks for it (then before it leaves), until they are told to drain. A reload makes a new set and
 * drains the old one.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { causeText } from "../../wire/cause.ts";
import { killDelayMs, type Report, RestartPause } from "./own-process.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** A worker that is not ready by then is given up. */
const readyLimitMs = 30_000;

interface WorkerSetOptions {
  readonly count: number;
  /** How long a worker may take to leave that somebody else has asked to. */
  readonly drainMs: number;
  /** Starts the worker of one place, 0 to count - 1. */
  launch(place: number): Promise<WorkerProcess>;
  /** One has taken the place of another. */
  replaced(): void;
  readonly report: Report;
}

export class WorkerSet {
  readonly #options: WorkerSetOptions;
  readonly #running = new Set<WorkerProcess>();
  /** Of them, those that have a successor. */
  readonly #retired = new Set<WorkerProcess>();
  /** From then on no worker is replaced; who waits to be, stops waiting. */
  readonly #leaving = new AbortController();
  #places: Promise<void>[] = [];

  constructor(options: WorkerSetOptions) {
    this.#options = options;
  }

  get running(): ReadonlySet<WorkerProcess> {
    return this.#running;
  }

  /** Whether there are workers, and all of them answer. */
  get answers(): boolean {
    return this.#running.size > 0 && [...this.#running].every(({ answers }) => answers);
  }

  /**
   * Starts all workers. @throws Error when one of them does not become ready: then none is left.
   */
  async start(): Promise<void> {
    const places = Array.from({ length: this.#options.count }, (_, place) => place);
    const starts = await Promise.allSettled(places.map((place) => this.#launch(place)));
    const failure = starts.find((start) => start.status === "rejected");
    if (failure !== undefined) {
      this.kill();
      await Promise.all(Array.from(this.#running, ({ ended }) => ended));
      throw failure.reason;
    }
    this.#places = starts.map((start, place) => {
      if (start.status === "rejected") throw start.reason;
      return this.#keep(place, start.value);
    });
  }

  /**
   * Has every worker leave. @param limitMs how long requests under way may take.
   * @param keepIdle see ToWorker. @returns when all are gone.
   */
  async drain(limitMs: number, keepIdle: boolean): Promise<void> {
    this.#leaving.abort();
    for (const worker of this.#running) worker.tell({ kind: "drain", limitMs, keepIdle });
    const timer = setTimeout(() => this.kill(), limitMs + killDelayMs);
    await Promise.all(this.#places);
    await Promise.all(Array.from(this.#running, ({ ended }) => ended));
    clearTimeout(timer);
  }

  kill(): void {
    this.#leaving.abort();
    for (const worker of this.#running) worker.kill();
  }

  /** Keeps one place taken until the set leaves. */
  async #keep(place: number, first: WorkerProcess): Promise<void> {
    const pause = new RestartPause();
    for (let worker = first; ;) {
      const why = await worker.leaves;
      const successor = await this.#replace(place, pause, worker.startedMs);
      if (successor === undefined) return;
      this.#options.replaced();
      if (why === "asks") this.#retire(worker);
      worker = successor;
    }
  }

  /** Another worker for the place of one that was started then; undefined if the set leaves. */
  async #replace(place: number, pause: RestartPause, startedMs: number) {
    const { signal } = this.#leaving;
    for (let sinceMs = startedMs; !signal.aborted;) {
      const pauseMs = pause.after(performance.now() - sinceMs);
      if (pauseMs > 0) await sleep(pauseMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return undefined;
      sinceMs = performance.now();
      try {
        return await this.#launch(place);
      } catch (error) {
        this.#options.report(0, "worker not started", { cause: causeText(error) });
      }
    }
    return undefined;
  }

  /** Has one leave that has a successor. */
  #retire(worker: WorkerProcess): void {
    const { drainMs } = this.#options;
    this.#retired.add(worker);
    worker.tell({ kind: "drain", limitMs: drainMs, keepIdle: true });
    const timer = setTimeout(() => worker.kill(), drainMs + killDelayMs);
    void worker.ended.then(() => clearTimeout(timer));
  }

  async #watch(worker: WorkerProcess): Promise<void> {
    const how = await worker.ended;
    this.#running.delete(worker);
    const isMeant = this.#retired.delete(worker) || this.#leaving.signal.aborted;
    if (isMeant && how === "status 0") return;
    this.#options.report(0, "worker died", { pid: worker.pid, end: how });
  }

  async #launch(place: number): Promise<WorkerProcess> {
    const worker = await this.#options.launch(place);
    this.#running.add(worker);
    if (this.#leaving.signal.aborted) worker.kill(); // told to leave while it was being started
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      worker.kill();
    }, readyLimitMs);
    const answer = await worker.ready;
    clearTimeout(timer);
    if (answer === "ready") {
      this.#options.report(1, "worker started", { pid: worker.pid });
      void this.#watch(worker);
      return worker;
    }
    worker.kill();
    await worker.ended;
    this.#running.delete(worker);
    const why = isLate ? `it was not ready within ${readyLimitMs} ms` : answer.why;
    throw new Error(`worker ${worker.pid}: ${why}`);
  }
}
