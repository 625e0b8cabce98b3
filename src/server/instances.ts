/**
 * The instances that live, and what is done about them: their reports and deaths are passed on,
 * their memory is looked at where there is a limit, and the log says what becomes of each.
 */
import { residentBytesOf } from "../native/process-stat.ts";
import type { InstanceId, Overrun } from "../pool/types.ts";
import type { Instance } from "../spawn/spawner.ts";
import type { ByteString } from "../wire/bytes.ts";
import type { InstanceOptions } from "../wire/configure.ts";
import { InstanceLog } from "./instance-log.ts";
import type { Log } from "../logging/log.ts";

/** How often memory is looked at: an instance that leaks takes minutes or more. */
const lookEveryMs = 5_000;

/** How long one may take to leave that has outstayed: to say so on its connections. */
const outstayedMs = 1_000;

/** Between two looks at the stacks of an instance: each is some screens of its log. */
const stackEveryMs = 10_000;

interface InstancesOptions {
  readonly log: Log;
  readonly memoryOf: (root: ByteString) => Pick<InstanceOptions, "maxMemory" | "hardMemory">;
  readonly done: (id: InstanceId, sessions: number) => void;
  readonly died: (id: InstanceId, reason: "died" | "outOfMemory") => void;
  /** It uses more memory than it may; `isHard`: it is to end. */
  readonly grown: (id: InstanceId, isHard: boolean) => void;
}

interface Living {
  readonly instance: Instance;
  readonly root: ByteString;
  /** When its stacks were asked for last. */
  shownMs: number;
  /** Its end is no news. */
  isLetGo: boolean;
}

export class Instances {
  readonly #options: InstancesOptions;
  readonly log: InstanceLog;
  readonly #living = new Map<InstanceId, Living>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: InstancesOptions) {
    this.#options = options;
    this.log = new InstanceLog(options.log);
  }

  get(id: InstanceId): Instance | undefined {
    return this.#living.get(id)?.instance;
  }

  idOf(pid: number): InstanceId | undefined {
    for (const [id, { instance }] of this.#living) if (instance.pid === pid) return id;
    return undefined;
  }

  /** It is known to the pool from now on. */
  add(id: InstanceId, instance: Instance, root: ByteString): void {
    this.#living.set(id, { instance, root, shownMs: -Infinity, isLetGo: false });
    const { reports } = instance;
    if (reports !== undefined) {
      reports.onDone = (sessions) => {
        if (this.#living.has(id)) this.#options.done(id, sessions);
      };
    }
    void instance.death.then(() => this.#died(id));
    this.watchMemory();
  }

  /** Looks at memory from now on, if there are limits. */
  watchMemory(): void {
    if (this.#timer !== undefined || ![...this.#limited()].length) return;
    this.#timer = setInterval(() => this.#look(), lookEveryMs);
    this.#timer.unref();
  }

  /** Has it write its stacks, if it can; once in a while only. */
  showStack(id: InstanceId, nowMs: number): void {
    const living = this.#living.get(id);
    if (living === undefined || nowMs - living.shownMs < stackEveryMs) return;
    living.shownMs = nowMs;
    living.instance.showStack();
  }

  giveUp(id: InstanceId, overrun: Overrun, what: string | undefined): void {
    const living = this.#living.get(id);
    if (living === undefined) return;
    const { instance } = living;
    this.log.givenUp(instance, overrun, what);
    if (overrun !== "upgraded") return instance.giveUp();
    living.isLetGo = true;
    instance.release(outstayedMs);
  }

  retire(id: InstanceId, reason: string): void {
    const instance = this.get(id);
    if (instance === undefined) throw new Error(`retirement of unknown instance ${id}`);
    this.#living.delete(id);
    instance.release();
    this.log.retired(instance, reason);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { instance } of this.#living.values()) instance.release();
    this.#living.clear();
  }

  #died(id: InstanceId): void {
    const { instance, isLetGo = true } = this.#living.get(id) ?? {};
    if (instance === undefined || isLetGo) return;
    void this.log.died(instance);
    // Its sessions may stay open for long; there is nothing left to keep its owner pipe for.
    instance.release();
    this.#options.died(id, instance.isOutOfMemory === true ? "outOfMemory" : "died");
  }

  /** Those with limits of their memory, in bytes; 0: any number. */
  *#limited() {
    for (const [id, { instance, root }] of this.#living) {
      const { maxMemory = 0, hardMemory = 0 } = this.#options.memoryOf(root);
      if (maxMemory + hardMemory > 0) yield { id, instance, maxMemory, hardMemory };
    }
  }

  #look(): void {
    let isIdle = true;
    for (const { id, instance, maxMemory, hardMemory } of this.#limited()) {
      isIdle = false;
      const bytes = residentBytesOf(instance.pid) ?? 0;
      if (hardMemory > 0 && bytes > hardMemory) this.#options.grown(id, true);
      else if (maxMemory > 0 && bytes > maxMemory) this.#options.grown(id, false);
    }
    if (!isIdle) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
