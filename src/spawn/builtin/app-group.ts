/** The control group of one application: its limits, and what the kernel has done to keep them. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { countIn, tellGroup, tellGroupAside } from "../../native/control-groups.ts";
import type { KernelLimits } from "../../wire/kernel-limits.ts";

export interface GroupKey {
  readonly name: "memoryMax" | "cpuWeight" | "tasksMax";
  readonly controller: string;
  readonly file: string;
  /** What the file holds where there is no limit. */
  readonly usual: string;
}

export const groupKeys: readonly GroupKey[] = [
  { name: "memoryMax", controller: "memory", file: "memory.max", usual: "max" },
  { name: "cpuWeight", controller: "cpu", file: "cpu.weight", usual: "100" },
  { name: "tasksMax", controller: "pids", file: "pids.max", usual: "max" },
];

/** Why the kernel ends a process: what its end is called in the log. */
export const memoryCause = "the kernel ended it, its application has used up memory_max";

export class AppGroup {
  readonly path: string;
  /** Its application is registered no more. */
  isForgotten = false;
  /** Undefined: nothing has been in it yet. */
  #limits: KernelLimits | undefined;
  /** Of limits that are told aside, the last. */
  #told: Promise<void> = Promise.resolve();
  /** Deaths by memory that have been put down to a process, or said. */
  #explained = 0;
  /** The others at the last look: they may yet be explained. */
  #unexplained = 0;
  #refusals = 0;
  #isFull = false;

  constructor(path: string) {
    this.path = path;
  }

  /** The file by which a process comes into it. */
  get processes(): string {
    return join(this.path, "cgroup.procs");
  }

  /**
   * @throws Error: the kernel refuses them. @returns when a limit of memory holds that what runs in
   * it may exceed; rejects with an Error as well.
   */
  apply(limits: KernelLimits): Promise<void> {
    if (Bun.deepEquals(this.#limits, limits)) return this.#told;
    const { path } = this;
    for (const { name, file, usual } of groupKeys) {
      if (this.#limits?.[name] === limits[name]) continue;
      const text = String(limits[name] ?? usual);
      if (name === "memoryMax" && this.#limits !== undefined) {
        this.#told = this.#told.catch(() => {}).then(() => tellGroupAside(path, file, text));
        this.#told.catch(() => {}); // What follows may throw, and then nobody has it.
      } else tellGroup(path, file, text);
    }
    // Memory that is swapped out is used all the same.
    if (existsSync(join(path, "memory.swap.max"))) {
      tellGroup(path, "memory.swap.max", limits.memoryMax === undefined ? "max" : "0");
    }
    this.#limits = limits;
    return this.#told;
  }

  /** Whether the kernel has ended a process of it, and nobody knows yet which: this one then. */
  takeMemoryKill(): boolean {
    if (this.#memoryKills() <= this.#explained) return false;
    this.#explained += 1;
    return true;
  }

  /** Processes that the kernel has ended, and that no instance's death has explained meanwhile. */
  unseenKills(): number {
    const before = this.#unexplained;
    this.#unexplained = this.#memoryKills() - this.#explained;
    const count = Math.min(before, this.#unexplained);
    this.#explained += count;
    this.#unexplained -= count;
    return count;
  }

  /** The limit of tasks, if it is reached and was not when it was looked last. */
  newlyFull(): number | undefined {
    const refusals = countIn(this.path, "pids.events", "max");
    const [wasFull, before] = [this.#isFull, this.#refusals];
    this.#isFull = refusals > before;
    this.#refusals = refusals;
    return this.#isFull && !wasFull ? this.#limits?.tasksMax : undefined;
  }

  #memoryKills(): number {
    return countIn(this.path, "memory.events", "oom_kill");
  }
}
