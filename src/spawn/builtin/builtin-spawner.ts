/**
 * Makes instances itself (PROTOCOL section 10): finds out what an application is and whom it may
 * run as, starts it through the launch command with its loader, or has its preloader fork it, and
 * waits until it is ready. Whatever goes wrong becomes a SpawnFailedError with a page for people,
 * and leaves nothing behind.
 */
import { availableParallelism } from "node:os";

import { mayFilesHang } from "../../native/mounts.ts";
import type { AppRequest } from "../../wire/app-request.ts";
import { escapeForLog, type ByteString } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import type { InstanceOptions } from "../../wire/configure.ts";
import { FilesAside } from "../files-aside.ts";
import type {
  Instance,
  Notify,
  Rehearse,
  SpawnRequest,
  Spawner,
  UsualInstances,
} from "../spawner.ts";
import { waitForExit } from "../process-end.ts";
import type { AppGroup } from "./app-group.ts";
import { AppGroups } from "./app-groups.ts";
import { kindOf, lookAtApplication, type Looked, type LookRequest } from "./application-look.ts";
import { spawnError } from "./error-page.ts";
import {
  makeInstance,
  type EndTimes,
  type InstanceProcessOptions,
  type InstanceProcess,
} from "./instance-process.ts";
import { planFor, startUndertaker, type Heir, type LogPlace } from "./hand-over.ts";
import { LeftOutputs } from "./left-outputs.ts";
import { LoaderDirectory } from "./loader-files.ts";
import { usualOf } from "./loaders.ts";
import { OutputAllowance } from "./output-allowance.ts";
import { Preloader, PreloaderGoneError } from "./preloader.ts";
import { Preloaders } from "./preloaders.ts";
import { failureOfProgram, untilProgramReady, wayTo } from "./program/program-start.ts";
import type { Way } from "./program/way.ts";
import { startProcess } from "./running-process.ts";
import { Strays } from "./strays.ts";
import { TimeLimit, untilReady } from "./readiness.ts";
import { untilAnswered } from "./ready-path.ts";
import { planStart, type Progress, type StartOptions, type StartPlan } from "./start-plan.ts";
import { WarmUp } from "./warm-up.ts";

/** One line (or 8 KiB of one) that an instance wrote, without its line end. */
export type WriteOutput = (pid: number, root: ByteString, line: ByteString) => void;

export interface BuiltinSpawnerOptions extends StartOptions {
  readonly notify: Notify;
  /** Must not block: it is called on the event loop. */
  readonly writeOutput: WriteOutput;
  /** Where its private directory lies; default: the system's for temporary files. */
  readonly baseDirectory?: string;
  /** Default: those of PROTOCOL sections 1 and 10. */
  readonly endTimes?: EndTimes;
  /** Where the log is, if another process may see to what outlives `close`; absent: none does. */
  readonly heirsLog?: LogPlace;
}

/** A start that is under way. */
interface Start {
  readonly request: SpawnRequest;
  readonly plan: StartPlan;
  readonly limit: TimeLimit;
  readonly progress: Progress;
  readonly way: Way | undefined;
  readonly group: AppGroup | undefined;
}

/** How long the files of an application may take, before it has even been started. */
const maxLookMs = 5_000;
/** How long a preloader may take to fork: a healthy one needs milliseconds. */
const maxForkMs = 5_000;

/** What needs no longer than this to end is waited for: idle instances need some 10 ms. */
const atOnceMs = 50;

/** How long programs that have left their instance's group have at the server's end. */
const straysMs = 100;

const protocolTimes: EndTimes = { retiredMs: 60_000, shutdownMs: 5_000, terminatedMs: 5_000 };

/** Applications whose kind, and what they have written, is remembered; of more it is forgotten. */
const maxRemembered = 1_000;

export class BuiltinSpawner implements Spawner {
  readonly pid = process.pid;
  readonly spawnsAtOnce = 2 * availableParallelism();
  readonly pausesAfterFailures = true;
  readonly #options: BuiltinSpawnerOptions;
  readonly #directory: LoaderDirectory;
  readonly #times: EndTimes;
  readonly #shutdown = new AbortController();
  readonly #hurry = new AbortController();
  /** With the roots of their applications. */
  readonly #processes = new Map<InstanceProcess, ByteString>();
  readonly #preloaders = new Preloaders();
  readonly aside = new FilesAside();
  readonly #strays = new Strays();
  readonly #leftOutputs = new LeftOutputs();
  readonly #usual = new Map<ByteString, UsualInstances>();
  readonly #allowances = new Map<ByteString, OutputAllowance>();
  readonly #warmUp: WarmUp;
  readonly #groups: AppGroups;

  constructor(options: BuiltinSpawnerOptions) {
    this.#options = options;
    this.#directory = new LoaderDirectory(options.baseDirectory);
    this.#warmUp = new WarmUp(this.#directory);
    this.#times = options.endTimes ?? protocolTimes;
    this.#groups = new AppGroups(options.notify);
  }

  usualInstances(app: AppRequest, options: InstanceOptions = {}): UsualInstances {
    if (app.appType !== "auto") return usualFor(app, options);
    return this.#usual.get(app.root) ?? this.#remember(app.root, usualFor(app, options));
  }

  start(rehearse?: Rehearse): void {
    this.#warmUp.rehearse = rehearse;
    this.#warmUp.begin();
  }

  expect(app: AppRequest, options: InstanceOptions): void {
    this.#warmUp.expect(app, options);
    this.#groups.expect(app.root, options);
  }

  setMax(max: number): void {
    this.#preloaders.setMax(max);
  }

  async spawn(request: SpawnRequest): Promise<Instance> {
    this.#warmUp.rehearse = undefined; // This is the first start, and somebody waits for it.
    const progress: Progress = {};
    const limit = new TimeLimit(request.timeoutMs);
    const { useless } = request;
    useless?.addEventListener("abort", () => limit.cut(String(useless.reason)));
    let started: InstanceProcess | undefined;
    let way: Way | undefined;
    try {
      this.#shutdown.signal.throwIfAborted();
      const look = (what: LookRequest) => this.#look(what, limit);
      const group = this.#groups.of(request.root, request);
      const options = { ...this.#options, group: group?.processes };
      const planned = planStart(request, options, this.#directory, progress, look);
      const plan = await limit.unlessCut(planned);
      way = wayTo(request, plan, this.#directory);
      started = await this.#start({ request, plan, limit, progress, way, group });
      if (!started.hasEnded) this.#strays.enter(started.pid, plan.user);
      void this.#keep(started, request.root);
      void this.#watch("instance", request.root, started);
      this.#shutdown.signal.throwIfAborted();
      const ready =
        way === undefined
          ? await untilReady(started, limit, progress)
          : await untilProgramReady({ process: started, way, request, plan, limit, progress });
      await untilAnswered({ process: started, limit }, ready, request);
      this.#remember(request.root, plan.usualAfter(ready.concurrency));
      return started.serves(ready, progress.user, plan.hasThreads(ready.concurrency));
    } catch (error) {
      started?.kill();
      way?.close();
      if (started === undefined) way?.remove?.();
      const output = await started?.output.lastText();
      const isProgram = way !== undefined;
      const why = isProgram ? failureOfProgram(error, progress.command, output) : error;
      const { aborted, reason } = this.#shutdown.signal;
      const cause = aborted ? (reason as Error) : why;
      throw spawnError(request, { ...progress, ...(output && { output }) }, cause);
    }
  }

  /** Where the files could keep us waiting, aside. */
  #look(request: LookRequest, { remainingMs }: TimeLimit): Looked | Promise<Looked> {
    if (!mayFilesHang()) return lookAtApplication(request);
    return this.aside.look(request, Math.min(remainingMs, maxLookMs));
  }

  reload(root: ByteString): void {
    this.#preloaders.reload(root);
  }

  forget(root: ByteString): void {
    this.#groups.forget(root);
  }

  async close(hurry: AbortSignal): Promise<void> {
    this.#shutdown.abort(new Error("the server is shutting down"));
    this.aside.close();
    const cooled = this.#warmUp.close();
    const onHurry = () => this.#hurry.abort();
    hurry.addEventListener("abort", onHurry, { once: true });
    if (hurry.aborted) onHurry();
    const ends = this.#endAll();
    if (!(await this.#isHandedOver(ends, hurry))) {
      await ends;
      await cooled;
      await this.#strays.close(straysMs);
      await this.#groups.close();
      for (const process of this.#processes.keys()) process.output.stop();
      this.#directory.remove();
    }
  }

  async #endAll(): Promise<void> {
    const instances = [...this.#processes.keys()];
    await Promise.all(instances.map((process) => process.end(this.#times.retiredMs)));
    // After the instances, whose ends they report.
    await this.#preloaders.close();
  }

  /** Hands over what does not end by itself at once. @returns whether there was any. */
  async #isHandedOver(ends: Promise<unknown>, hurry: AbortSignal): Promise<boolean> {
    const { heirsLog, notify } = this.#options;
    if (heirsLog === undefined || hurry.aborted) return false;
    if (await waitForExit(ends, atOnceMs, hurry)) return false;
    if (hurry.aborted) return false;
    const heirs = await this.#heirs();
    if (heirs.length === 0) return false;
    try {
      const { path: directory } = this.#directory;
      const strays = this.#strays.all;
      const rest = { directory, log: heirsLog, times: this.#times, strays };
      const { plan, descriptors } = planFor(heirs, rest);
      const file = this.#directory.write("heirs.json", JSON.stringify(plan));
      const pid = startUndertaker(file, descriptors);
      this.#directory.leaveTo(pid);
      notify(1, "instances are left to another process", { count: heirs.length, pid });
      return true;
    } catch (error) {
      // What they still write is lost; their end is waited for.
      notify(0, "nobody can be left in charge of instances", { cause: causeText(error) });
      return false;
    }
  }

  async #heirs(): Promise<Heir[]> {
    const instances = [...this.#processes].map(async ([process, root]) => ({
      survivor: await process.handOver(),
      root,
      isPreloader: false,
    }));
    const preloaders = [...this.#preloaders.all()].map(async ([root, preloader]) => ({
      survivor: await preloader.handOver(),
      root,
      isPreloader: true,
    }));
    const all = await Promise.all([...instances, ...preloaders]);
    return all.flatMap(({ survivor, ...known }) => (survivor ? [{ ...survivor, ...known }] : []));
  }

  async #start(start: Start): Promise<InstanceProcess> {
    const { request, plan, limit, progress, way, group } = start;
    this.#shutdown.signal.throwIfAborted();
    const options: InstanceProcessOptions = {
      socketPlace: way ?? this.#directory.socketPlace(),
      urgency: {
        times: this.#times,
        shutdown: this.#shutdown.signal,
        hurry: this.#hurry.signal,
        ending: this.#strays.ending,
      },
      writeLine: this.#lineWriter(request.root),
      group,
    };
    if (!plan.canPreload || !this.#preloaders.isWorthOne(request.root)) {
      const command = plan.command("instance", way);
      return makeInstance(options, (inherited) => startProcess(command, inherited));
    }
    const begin = () => {
      const preloader = new Preloader(plan.command("preloader"), options);
      void this.#watch("preloader", request.root, preloader);
      void this.#watchEnd(request.root, preloader);
      this.#strays.enter(preloader.pid, plan.user);
      void this.#leaveAfter(preloader, request.root);
      return preloader;
    };
    const fork = () =>
      this.#preloaders.with(request.root, plan.signature, begin, async (preloader) => {
        await this.#untilLoaded(preloader, limit, progress);
        const ms = Math.min(limit.remainingMs, maxForkMs);
        return makeInstance(options, (inherited) => preloader.fork(inherited, ms));
      });
    try {
      return await fork();
    } catch (error) {
      const mayTry = !this.#shutdown.signal.aborted && limit.remainingMs > 0;
      if (!(error instanceof PreloaderGoneError) || !mayTry) throw error;
      return await fork(); // By a fresh one: whoever waits has done nothing wrong.
    }
  }

  /** A preloader that could not load the code is of no use to anybody; others may wait for it. */
  async #untilLoaded(preloader: Preloader, limit: TimeLimit, progress: Progress): Promise<void> {
    try {
      await untilReady(preloader, limit, progress);
    } catch (error) {
      if (!limit.isCut) void preloader.end();
      progress.output = await preloader.output.lastText();
      throw error;
    }
  }

  /** Says what an application's process has written to its lifeline that it may not. */
  async #watch(
    what: string,
    root: ByteString,
    { pid, lifeline }: InstanceProcess | Preloader,
  ): Promise<void> {
    const { message } = await lifeline.misbehaved;
    const app = escapeForLog(root);
    this.#options.notify(0, `${what} killed`, { app, pid, cause: message });
  }

  /** Says how a preloader ended that nobody had told to. */
  async #watchEnd(root: ByteString, preloader: Preloader): Promise<void> {
    const end = await preloader.diedByItself;
    this.#options.notify(1, "preloader died", { app: escapeForLog(root), pid: preloader.pid, end });
  }

  /** Knows it until nothing of it is left, nor anything that holds its output open and is read. */
  async #keep(started: InstanceProcess, root: ByteString): Promise<void> {
    this.#processes.set(started, root);
    await started.death;
    await started.end(this.#times.terminatedMs);
    await this.#strays.leave(started.pid, this.#times.terminatedMs, this.#hurry.signal);
    await this.#leftOutputs.untilEnded(root, started.output);
    this.#processes.delete(started);
    this.#groups.left(root);
  }

  async #leaveAfter(preloader: Preloader, root: ByteString): Promise<void> {
    await preloader.exited;
    await this.#strays.leave(preloader.pid, this.#times.terminatedMs, this.#hurry.signal);
    this.#groups.left(root);
  }

  /** Writes lines of an application to the log, as long as they are not too many. */
  #lineWriter(root: ByteString): (pid: number, line: ByteString) => boolean {
    if (this.#allowances.size >= maxRemembered) this.#allowances.clear();
    const allowance = this.#allowances.get(root) ?? new OutputAllowance(performance.now());
    this.#allowances.set(root, allowance);
    return (pid, line) => {
      const mayPass = allowance.take(line.length + 1, performance.now());
      if (mayPass) this.#options.writeOutput(pid, root, line);
      return mayPass;
    };
  }

  #remember(root: ByteString, usual: UsualInstances): UsualInstances {
    if (this.#usual.size >= maxRemembered) this.#usual.clear();
    this.#usual.set(root, usual);
    return usual;
  }
}

function usualFor(app: AppRequest, options: InstanceOptions): UsualInstances {
  try {
    // Where nobody waits for its files, one instance tells how many more are needed; two at once
    // would split the state of a program that was meant to be one process.
    return usualOf(kindOf(app, options) ?? "node", options);
  } catch {
    return { concurrency: 1, instances: 0 }; // The spawn will say what is wrong.
  }
}
