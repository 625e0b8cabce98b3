/**
 * One worker, as the supervisor sees it: a process of the same binary that inherits the wake socket
 * (3), its end of the control channel (4), a socket by which the access log's file comes (5), and
 * the listening sockets (6 and up). One that no longer answers, or says what it may not, is ended:
 * its place is taken by another.
 */
import type { Subprocess } from "bun";

import { allocatorVariables } from "../../native/allocator.ts";
import { sendDescriptor } from "../../native/descriptors.ts";
import { inTime } from "../../native/in-time.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { causeText } from "../../wire/cause.ts";
import { figurePlaces } from "../../wire/request-figures.ts";
import type { GatewayConfig } from "../config.ts";
import {
  ControlChannel,
  fromWorker,
  type ToSupervisor,
  type ToWorker,
  type WorkerFigures,
} from "../control-channel.ts";
import type { Figures } from "./figures.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { openLogFile } from "../log/log-file.ts";
import { endOf, type Report, startOwn, watchOwn, withChannel } from "./own-process.ts";
import type { PassedOnWorker } from "./succession.ts";

/** The hidden command of the binary. */
export const workerCommand = "gateway-worker";

export const workerDescriptors = { wake: 3, control: 4, log: 5, firstListener: 6 } as const;

/** A listening socket to be passed on. */
export interface SharedListener {
  readonly fd: number;
  readonly tls: boolean;
}

interface WorkerStart {
  readonly config: GatewayConfig;
  /** Our descriptor of the parents' end of the wake socket. */
  readonly wakeFd: number;
  readonly listeners: readonly SharedListener[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: Report;
  /** What it tells of its requests goes here. */
  readonly figures: Figures;
}

/** What has been written is here when a process has ended; it only waits for the event loop. */
const lastWordsMs = 1_000;

type StartOutcome = "ready" | { readonly why: string };

export class WorkerProcess {
  static #saidUnfenced = false;
  readonly #process: Subprocess;
  readonly #report: Report;
  readonly #config: GatewayConfig;
  readonly #figures: Figures;
  /** Our end of the socket on which it finds the file of the access log. */
  readonly #logs: OwnedFd;
  readonly #ready = Promise.withResolvers<StartOutcome>();
  /** Resolves when it accepts connections; with a text when it cannot, or has ended. */
  readonly ready = this.#ready.promise;
  readonly #leaves = Promise.withResolvers<"asks" | "ended">();
  /** Resolves when it wants to be replaced, or has ended. */
  readonly leaves = this.#leaves.promise;
  #control: ControlChannel<ToSupervisor, ToWorker> | undefined;
  /** From when it is ready. */
  #heartbeat: Heartbeat | undefined;
  #hasAsked = false;
  /** Resolves when it has told the figures that it was asked for. */
  #owedFigures: PromiseWithResolvers<void> | undefined;
  #hasToldLast = false;
  readonly #underWay = new Map<string, number>();
  /** Sessions without a request, by process; empty where that is not known now. */
  #idle: ReadonlyMap<number, number> = new Map();
  /** It is being ended: what else it says is of no interest. */
  #hasOffended = false;
  /** Its end of the control channel is closed, and read to its end. */
  readonly #heardAll = Promise.withResolvers<void>();
  readonly startedMs = performance.now();
  /** Resolves with how it ended. */
  readonly ended: Promise<string>;

  private constructor(
    process: Subprocess,
    logs: OwnedFd,
    { config, report, figures }: WorkerStart,
  ) {
    this.#process = process;
    this.#logs = logs;
    this.#report = report;
    this.#config = config;
    this.#figures = figures;
    for (const name of ["", ...config.apps.map((app) => app.name)]) this.#underWay.set(name, 0);
    this.ended = this.#untilEnded();
  }

  async #untilEnded(): Promise<string> {
    await this.#process.exited;
    this.#heartbeat?.stop();
    this.#logs.close();
    // Its last figures may not have been read yet.
    await inTime(this.#heardAll.promise, lastWordsMs, () => {});
    this.#control?.close();
    this.#ready.resolve({ why: `it ended with ${endOf(this.#process)}` });
    this.#leaves.resolve("ended");
    return endOf(this.#process);
  }

  /** @throws Error when the process cannot be started, or its log not be opened. */
  static async start(start: WorkerStart): Promise<WorkerProcess> {
    const { config, env, wakeFd } = start;
    const fds = start.listeners.map(({ fd }) => fd);
    const [[child, logs], ours] = withChannel((control) =>
      withChannel((theirLogs, ourLogs) => {
        passLogFile(config, ourLogs);
        const all = { ...env, ...allocatorVariables(env) };
        return startOwn([workerCommand], all, [wakeFd, control, theirLogs, ...fds]);
      }),
    );
    const worker = new WorkerProcess(child, logs, start);
    worker.#control = await ControlChannel.open<ToSupervisor, ToWorker>(ours, fromWorker, {
      message: (message) => worker.#hear(message),
      closed: (why) => worker.#silent(why),
    });
    const listeners = start.listeners.map(({ tls }, index) => ({
      descriptor: workerDescriptors.firstListener + index,
      tls,
    }));
    worker.tell({ kind: "serve", config: configForWorkers(config), listeners });
    return worker;
  }

  /** Whether it answers; one that is not ready yet has its time limit for that. */
  get answers(): boolean {
    return this.#heartbeat?.answers !== false;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** How long it took to answer last; undefined: it has not yet. */
  get lagMs(): number | undefined {
    return this.#heartbeat?.lagMs;
  }

  /** What the next program in this process has to know of it; undefined: it ends. */
  get passOn(): PassedOnWorker | undefined {
    const control = this.#control?.descriptor;
    return control === undefined ? undefined : { pid: this.pid, control };
  }

  tell(message: ToWorker): void {
    this.#control?.send(message);
  }

  /** Asks for what it has counted, unless it owes that. @returns when it is told, or never. */
  async askFigures(): Promise<void> {
    if (this.#heartbeat === undefined) return;
    if (this.#owedFigures === undefined) {
      this.#owedFigures = Promise.withResolvers();
      this.#idle = new Map();
      this.tell({ kind: "figures" });
    }
    await this.#owedFigures.promise;
  }

  /** Requests of an application that are under way in it, as it has told last. */
  underWay(app: string): number {
    return this.#underWay.get(app) ?? 0;
  }

  /** Sessions of an instance that it keeps without a request, as it has told a moment ago. */
  idleSessions(pid: number): number {
    return this.#idle.get(pid) ?? 0;
  }

  /** Has it go on in the file that has the log's name now. */
  reopenLogs(): void {
    try {
      if (this.#logs.open) passLogFile(this.#config, this.#logs);
      this.tell({ kind: "reopenLogs" });
    } catch (error) {
      this.#report(0, "access log not reopened", { pid: this.pid, cause: causeText(error) });
    }
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** Each message has its time; at another it is an offence, and so never piles anything up. */
  #hear(message: ToSupervisor): void {
    if (this.#hasOffended) return;
    const isReady = this.#heartbeat !== undefined;
    switch (message.kind) {
      case "ready":
        if (isReady) return this.#offends("it is ready again");
        this.#heartbeat = this.#watch();
        if (message.unfenced !== undefined) this.#sayUnfenced(message.unfenced);
        return this.#ready.resolve("ready");
      case "failed":
        if (isReady) return this.#offends("it fails after it was ready");
        return this.#ready.resolve(message);
      case "leaves":
        if (this.#hasAsked) return this.#offends("it leaves again");
        this.#hasAsked = true;
        return this.#leaves.resolve("asks");
      case "pong":
        if (this.#heartbeat?.isAsked !== true) return this.#offends("it answers unasked");
        return this.#heartbeat.heard();
      case "figures":
        return this.#takeFigures(message);
    }
  }

  #takeFigures({ apps, idle, isLast }: WorkerFigures): void {
    if (isLast ? this.#hasToldLast : this.#owedFigures === undefined) {
      return this.#offends("it tells figures unasked");
    }
    if (isLast) this.#hasToldLast = true;
    if (apps.some(([name]) => !this.#underWay.has(name))) {
      return this.#offends("it tells figures of an application that it does not serve");
    }
    this.#figures.add(apps, performance.now());
    for (const [name, row] of apps) this.#underWay.set(name, row[figurePlaces.underWay] ?? 0);
    this.#idle = new Map(idle);
    if (isLast) return;
    this.#owedFigures?.resolve();
    this.#owedFigures = undefined;
  }

  /** The kernel is the same for all of them: once is enough. */
  #sayUnfenced(cause: string): void {
    if (!WorkerProcess.#saidUnfenced) this.#report(0, "workers have no fence", { cause });
    WorkerProcess.#saidUnfenced = true;
  }

  #watch(): Heartbeat {
    const ask = () => this.tell({ kind: "ping" });
    return watchOwn("worker", this.#process, this.#config.silenceMs, this.#report, ask);
  }

  #silent(why: string | undefined): void {
    if (why !== undefined) this.#offends(why);
    this.#heardAll.resolve();
  }

  #offends(why: string): void {
    if (this.#hasOffended) return;
    this.#hasOffended = true;
    this.#report(0, "worker ended for what it says", { pid: this.pid, cause: why });
    this.kill();
  }
}

/** Opens the access log's file for a worker. @throws Error when it cannot be, or not be passed. */
function passLogFile({ accessLog, accessLogFile }: GatewayConfig, to: OwnedFd): void {
  if (accessLog === "off" || accessLogFile === undefined) return;
  using file = openLogFile(accessLogFile);
  if (!sendDescriptor(to.number, file.number)) throw new Error("pass the access log: no room");
}

/** What is for instances alone stays out of the processes that parse HTTP: secrets, as a rule. */
function configForWorkers(config: GatewayConfig): GatewayConfig {
  const apps = config.apps.map((app) => {
    // All that a worker goes by.
    const { maxQueue, maxRequests, requestTimeoutMs } = app.options;
    return { ...app, options: { maxQueue, maxRequests, requestTimeoutMs }, log: undefined };
  });
  return { ...config, apps };
}
