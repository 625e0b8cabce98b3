/**
 * The process that `serve` is: it binds the sockets, keeps the pool server and the workers running,
 * and passes on what operators want: reload, log rotation, the end. It serves no request itself;
 * once a second it asks workers for what they have counted.
 *
 * It leaves no orphans, however it ends: workers leave when their control channel ends, and the
 * pool server when no worker and no supervisor holds the other end of its wake socket.
 */
import { inTime } from "../../native/in-time.ts";
import { causeText } from "../../wire/cause.ts";
import type { GatewayStatus, ProcessStatus } from "../../wire/gateway-status.ts";
import type { ApplicationFigures } from "../../wire/request-figures.ts";
import type { AppConfig, GatewayConfig, PoolConfig } from "../config.ts";
import type { ToWorker } from "../control-channel.ts";
import { tryLogs } from "../log/log-file.ts";
import { Figures } from "./figures.ts";
import { closeAllBut, FirstListeners, type Listener, openListeners } from "./listeners.ts";
import { type PoolDuty, PoolKeeper } from "./pool-keeper.ts";
import { poolServerArguments } from "./pool-server-arguments.ts";
import { Predecessors } from "./predecessors.ts";
import type { Report } from "./own-process.ts";
import type { Succession } from "./succession.ts";
import { withoutIdle } from "./idle-sessions.ts";
import { memoryOf, processStatus } from "./process-status.ts";
import { WorkerProcess } from "./worker-process.ts";
import { WorkerSet } from "./worker-set.ts";

interface SupervisorOptions {
  readonly config: GatewayConfig;
  /** Sockets that systemd has passed; they take the place of the configured addresses. */
  readonly inherited: readonly Listener[];
  readonly report: Report;
  /** The environment of workers and pool server. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the program before this one in this process has left. */
  readonly succession?: Succession | undefined;
  /** This program's version. */
  readonly version: string;
}

const figuresEveryMs = 1_000;
/** How long a look waits for workers to tell theirs. */
const figuresLimitMs = 200;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #report: Report;
  #config: GatewayConfig;
  #listeners: readonly Listener[];
  readonly #firstListeners: FirstListeners;
  readonly #pool: PoolKeeper;
  #workers: WorkerSet;
  /** The set of a reload that is not ready yet. */
  #coming: { readonly workers: WorkerSet; readonly apps: readonly AppConfig[] } | undefined;
  /** Sets of earlier configurations that still have requests to finish, and what they serve. */
  readonly #leaving = new Map<WorkerSet, GatewayConfig>();
  /** By the application's name. */
  readonly #pauses = new Map<string, "wait" | "refuse">();
  readonly figures = new Figures(performance.now());
  /** Workers that have taken the place of another. */
  #workerRestarts = 0;
  readonly #clock: ReturnType<typeof setInterval>;
  /** When it ticked last, and how late that was. */
  #tickedMs = performance.now();
  #lagMs = 0;
  readonly #predecessors: Predecessors;
  #reloading: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** Binds the sockets and starts the pool server. @throws ListenError, Error. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#report = options.report;
    this.#config = options.config;
    const { config, inherited, succession } = options;
    tryLogs(config.apps);
    this.#predecessors = new Predecessors(succession);
    for (const [app, how] of Object.entries(succession?.pauses ?? {})) this.#pauses.set(app, how);
    this.#firstListeners = new FirstListeners(config, inherited, succession?.listeners);
    this.#listeners = this.#firstListeners.all;
    try {
      this.#pool = new PoolKeeper({
        commandLine: () => poolServerArguments(this.#config),
        env: options.env,
        report: options.report,
        duty: config,
      });
    } catch (error) {
      this.#firstListeners.failed();
      throw error;
    }
    this.#workers = this.#makeWorkers(this.#config);
    this.#clock = setInterval(() => this.#tick(), figuresEveryMs);
  }

  /** Where it accepts, as people write it. */
  get urls(): string[] {
    return this.#listeners.map(({ url }) => url);
  }

  get config(): GatewayConfig {
    return this.#config;
  }

  get pool(): PoolKeeper {
    return this.#pool;
  }

  async status(): Promise<GatewayStatus> {
    const { apps, name } = this.#config;
    // One that hangs is known as it was.
    await inTime(this.#askFigures(), figuresLimitMs, () => {});
    const inspected = await this.#pool.inspect().catch(() => null);
    const pool = inspected && withoutIdle(inspected, this.#running);
    return {
      name,
      pid: process.pid,
      version: this.#options.version,
      generation: this.generation,
      failedSuccessor: this.#options.succession?.failure ?? null,
      listening: this.urls,
      workers: this.#running.map(({ pid }) => pid),
      poolServer: this.#pool.pid ?? null,
      applications: apps.map((app) => ({
        name: app.name,
        root: app.root,
        pause: this.#pauses.get(app.name) ?? null,
        figures: this.#figuresOf(app.name),
        residentBytes: memoryOf(pool, app.root),
      })),
      unrouted: this.#figuresOf(""),
      processes: this.#processes,
      restarts: { worker: this.#workerRestarts, "pool server": this.#pool.restarts, admin: 0 },
      pool,
    };
  }

  /** How many programs this process was before. */
  get generation(): number {
    return this.#options.succession?.generation ?? 0;
  }

  /** Processes of the program before that have not left yet. */
  get predecessors(): readonly number[] {
    return this.#predecessors.pids;
  }

  /** What the next program in this process has to know. */
  get passOn(): Succession {
    const drain: ToWorker = { kind: "drain", limitMs: leaveMs(this.#config), keepIdle: true };
    const { inherited } = this.#options;
    const own = inherited.length === 0 ? this.#listeners : [];
    return {
      generation: this.generation + 1,
      listeners: own.map((listener) => listener.passOn),
      inherited: inherited.flatMap((listener) => listener.passOn.descriptors),
      pauses: Object.fromEntries(this.#pauses),
      workers: this.#running.flatMap((worker) => worker.passOn ?? []),
      poolServer: this.#pool.pid ?? null,
      farewell: `${JSON.stringify(drain)}\n`,
      limitMs: drain.limitMs,
    };
  }

  /** Whether all its processes answer: the pool server, and the workers that serve. */
  get answers(): boolean {
    return this.#pool.answers && this.#workers.answers;
  }

  /** Whether it ends, or has ended. */
  get isStopping(): boolean {
    return this.#stopping !== undefined;
  }

  /**
   * Starts the workers. @throws Error when they do not come up; then nothing is left running, and
   * the sockets of the program before are as it left them.
   */
  async start(): Promise<void> {
    try {
      // Who comes after others takes no connection before there is a pool server for it.
      if (this.predecessors.length > 0) await this.#pool.admitted();
      await this.#workers.start();
      this.#firstListeners.serves();
      this.#predecessors.dismiss();
    } catch (error) {
      this.#firstListeners.failed();
      await this.#close();
      throw error;
    }
  }

  /**
   * Serves another configuration from now on; no connection is lost. @throws ListenError, Error
   * when it cannot be served: then the old one stays.
   */
  reload(config: GatewayConfig): Promise<void> {
    const turn = this.#reloading.then(() => this.#change(config));
    this.#reloading = turn.catch(() => {});
    return turn;
  }

  /** Holds an application's requests back, or refuses them, or lets them go on (`none`). */
  pause(app: string, how: "wait" | "refuse" | "none"): void {
    if (how === "none") this.#pauses.delete(app);
    else this.#pauses.set(app, how);
    this.tell(this.#pausesNow);
  }

  tell(message: ToWorker): void {
    for (const worker of this.#running) worker.tell(message);
  }

  /** Changes limits of the pool until the next reload. @throws Error when they are not taken. */
  async setPool(change: Partial<PoolConfig>): Promise<void> {
    this.#config = { ...this.#config, pool: { ...this.#config.pool, ...change } };
    await this.#pool.use(this.#duty);
  }

  /** Has workers and the pool server open their logs anew; one that starts does so anyway. */
  async reopenLogs(): Promise<void> {
    for (const worker of this.#running) worker.reopenLogs();
    await this.#pool.order({ kind: "reopenLogs" }).catch(() => {});
  }

  /**
   * Ends: accepts nothing more, lets requests under way finish, then the pool server. @returns when
   * all of it is gone.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#drain();
    return this.#stopping;
  }

  /** Ends at once, without waiting for requests. */
  hurry(): void {
    for (const set of this.#sets) set.kill();
    this.#pool.hurry();
    void this.#predecessors.hurry(0);
  }

  get #processes(): ProcessStatus[] {
    const pool = this.#pool;
    return [
      processStatus("supervisor", process.pid, this.#lagMs),
      ...(pool.pid === undefined ? [] : [processStatus("pool server", pool.pid, pool.lagMs)]),
      ...this.#running.map(({ pid, lagMs }) => processStatus("worker", pid, lagMs)),
    ];
  }

  #tick(): void {
    const nowMs = performance.now();
    this.#lagMs = Math.max(0, nowMs - this.#tickedMs - figuresEveryMs);
    this.#tickedMs = nowMs;
    const isNewMinute = this.figures.tick(nowMs);
    if (isNewMinute && this.#config.admin !== undefined) void this.#noteMemory();
    void this.#askFigures();
  }

  /** Asks all workers what they have counted. @returns when they have told it. */
  #askFigures(): Promise<unknown> {
    return Promise.all(this.#running.map((worker) => worker.askFigures()));
  }

  #figuresOf(app: string): ApplicationFigures {
    const underWay = this.#running.reduce((sum, worker) => sum + worker.underWay(app), 0);
    return this.figures.of(app, underWay, performance.now());
  }

  async #noteMemory(): Promise<void> {
    const pool = await this.#pool.inspect().catch(() => null);
    for (const { name, root } of this.#config.apps) {
      const bytes = memoryOf(pool, root);
      if (bytes !== null) this.figures.noteMemory(name, bytes);
    }
  }

  get #pausesNow(): ToWorker {
    return { kind: "pauses", pauses: Object.fromEntries(this.#pauses) };
  }

  get #sets(): WorkerSet[] {
    const coming = this.#coming === undefined ? [] : [this.#coming.workers];
    return [this.#workers, ...coming, ...this.#leaving.keys()];
  }

  /** All workers there are. */
  get #running(): WorkerProcess[] {
    return this.#sets.flatMap(({ running }) => [...running]);
  }

  async #drain(): Promise<void> {
    this.#coming?.workers.kill();
    await this.#reloading;
    const drained = this.#sets.map((set) => set.drain(this.#config.drainMs, false));
    // Workers accept what waits in the queues before they close theirs; then nobody has them.
    for (const listener of this.#listeners) listener.close();
    await Promise.all([...drained, this.#predecessors.hurry(this.#config.drainMs)]);
    await this.#close();
  }

  #close(): Promise<void> {
    clearInterval(this.#clock);
    this.#closed ??= this.#pool.close();
    return this.#closed;
  }

  async #change(config: GatewayConfig): Promise<void> {
    if (this.#stopping !== undefined) return;
    tryLogs(config.apps);
    const old = { config: this.#config, listeners: this.#listeners, workers: this.#workers };
    const { inherited } = this.#options;
    const listeners = inherited.length > 0 ? inherited : openListeners(config, old.listeners);
    this.#listeners = listeners;
    const workers = this.#makeWorkers(config);
    this.#coming = { workers, apps: config.apps };
    const undo: (() => void)[] = [];
    try {
      // What only the new ones serve is there before they accept; nothing else changes until then.
      await this.#pool.use(this.#duty);
      for (const listener of listeners) undo.push(listener.growTo(config.workers));
      await workers.start();
    } catch (error) {
      this.#listeners = old.listeners;
      for (const shrink of undo) shrink();
      closeAllBut(old.listeners, listeners);
      this.#coming = undefined;
      await this.#pool.use(this.#duty);
      throw error;
    }
    this.#coming = undefined;
    this.#config = config;
    const names = new Set(config.apps.map(({ name }) => name));
    for (const name of this.#pauses.keys()) if (!names.has(name)) this.#pauses.delete(name);
    this.#workers = workers;
    this.#leaving.set(old.workers, old.config);
    void this.#retire(old.workers, leaveMs(old.config));
    closeAllBut(listeners, old.listeners);
    // A pool server that is not there now is started with all of it.
    await this.#pool.use(this.#duty);
    const { logLevel, logFormat } = old.config;
    if (logLevel === config.logLevel && logFormat === config.logFormat) return;
    this.#report(0, "holds from the next start on", { what: "log of the pool" });
  }

  async #retire(workers: WorkerSet, limitMs: number): Promise<void> {
    await workers.drain(limitMs, true);
    this.#leaving.delete(workers);
    await this.#pool.use(this.#duty).catch((error: unknown) => {
      this.#report(0, "applications not removed", { cause: causeText(error) });
    });
  }

  /** What the pool serves: also what comes with a reload under way, whoever leaves meanwhile. */
  get #duty(): PoolDuty {
    const { apps, pool, silenceMs } = this.#config;
    const roots = new Set(apps.map(({ root }) => root));
    const leaving = [...this.#leaving.values()].flatMap((config) => config.apps);
    const coming = this.#coming?.apps.filter(({ root }) => !roots.has(root)) ?? [];
    return { apps: [...apps, ...coming], leaving, pool, silenceMs };
  }

  #makeWorkers(config: GatewayConfig): WorkerSet {
    const listeners = this.#listeners;
    return new WorkerSet({
      count: config.workers,
      drainMs: leaveMs(config),
      report: this.#report,
      replaced: () => (this.#workerRestarts += 1),
      launch: async (place) => {
        const worker = await WorkerProcess.start({
          config,
          wakeFd: this.#pool.wakeFd,
          listeners: listeners.flatMap((listener) => listener.forPlace(place, config.workers)),
          env: this.#options.env,
          report: this.#report,
          figures: this.figures,
        });
        if (this.#pauses.size > 0) worker.tell(this.#pausesNow);
        return worker;
      },
    });
  }
}

/** How long a worker with a successor may take: for requests, or for upgraded connections. */
function leaveMs({ drainMs, upgradedMs }: GatewayConfig): number {
  return Math.max(drainMs, upgradedMs);
}
