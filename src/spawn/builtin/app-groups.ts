/**
 * A control group for each application that has a limit which only a group can keep: its instances,
 * its preloader, and all that they start are in it from before their first own instruction.
 *
 * The groups lie in that of the server, if it may be divided: by root, or by whom it was delegated
 * to. Above groups with limits there may be no processes, so the server and all of the gateway move
 * to a leaf of their own (cgroups(7), no internal processes); never somebody else's processes. What
 * cannot be had is said once, and applications start all the same.
 */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import {
  countIn,
  isOfVersionOne,
  isRemoved,
  isRootGroup,
  ownGroup,
  removeGroup,
  tellGroup,
  wordsOf,
} from "../../native/control-groups.ts";
import { statOf } from "../../native/process-stat.ts";
import { escapeForLog, toText, type ByteString } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import { wantsGroup, type KernelLimits } from "../../wire/kernel-limits.ts";
import type { Notify } from "../spawner.ts";
import { tooHigh } from "./resource-limits.ts";

/** The leaf of the server and the gateway. */
const leafName = "pool-server";
/** Forks may come while processes are moved. */
const maxRounds = 100;
/** How often it is looked whether the kernel has refused or ended something that nobody saw. */
const lookEveryMs = 10_000;
const maxShownName = 50;

interface GroupKey {
  readonly name: "memoryMax" | "cpuWeight" | "tasksMax";
  /** As the configuration has it. */
  readonly key: string;
  readonly controller: string;
  readonly file: string;
  /** What the file holds where there is no limit. */
  readonly usual: string;
}

const groupKeys: readonly GroupKey[] = (
  [
    ["memoryMax", "memory_max", "memory", "memory.max", "max"],
    ["cpuWeight", "cpu_weight", "cpu", "cpu.weight", "100"],
    ["tasksMax", "tasks_max", "pids", "pids.max", "max"],
  ] as const
).map(([name, key, controller, file, usual]) => ({ name, key, controller, file, usual }));

/** The group of one application. */
export class AppGroup {
  readonly path: string;
  /** Deaths by memory that have been put down to a process. */
  #explained = 0;
  #refusals = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** The file by which a process comes into it. */
  get processes(): string {
    return join(this.path, "cgroup.procs");
  }

  /** Whether the kernel has ended a process of it, and nobody knows yet which: this one then. */
  takeMemoryKill(): boolean {
    if (this.memoryKills === 0) return false;
    this.#explained += 1;
    return true;
  }

  /** How often the kernel has ended a process of it that nobody has noticed. */
  get memoryKills(): number {
    return countIn(this.path, "memory.events", "oom_kill") - this.#explained;
  }

  /** All of them have been said. */
  explainAll(): void {
    this.#explained += this.memoryKills;
  }

  /** Whether more tasks were refused since it was asked last. */
  refusesTasks(): boolean {
    const before = this.#refusals;
    this.#refusals = countIn(this.path, "pids.events", "max");
    return this.#refusals > before;
  }
}

interface Known {
  readonly group: AppGroup;
  /** What its files say. */
  limits: KernelLimits;
  isForgotten: boolean;
  /** At the last look: what may yet be explained by the death of an instance. */
  kills: number;
  refuses: boolean;
}

export class AppGroups {
  readonly #notify: Notify;
  readonly #known = new Map<ByteString, Known>();
  readonly #said = new Set<string>();
  /** The group in which ours are; undefined: none was wanted so far. */
  #home: string | undefined;
  #made = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(notify: Notify) {
    this.#notify = notify;
  }

  /** What an application may take from now on; says what cannot be kept. Never throws. */
  expect(root: ByteString, limits: KernelLimits): void {
    this.#prepare(root, limits, false);
  }

  /** The group of an application that is to have one, and can. Never throws. */
  of(root: ByteString, limits: KernelLimits): AppGroup | undefined {
    return this.#prepare(root, limits, true);
  }

  #prepare(root: ByteString, limits: KernelLimits, mayMake: boolean): AppGroup | undefined {
    for (const { name, limit } of tooHigh(limits.limits)) {
      const key = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const cause = `the server may have ${limit} itself (ulimit -H, or a Limit of its unit)`;
      this.#say(root, [`limits.${key}`], cause);
    }
    const known = this.#known.get(root);
    if (known === undefined && !wantsGroup(limits)) return undefined;
    const kept = this.#keepable(root, limits);
    try {
      if (known !== undefined && existsSync(known.group.path)) {
        known.isForgotten = false;
        this.#apply(known, kept);
        return known.group;
      }
      return mayMake && wantsGroup(kept) ? this.#make(root, kept) : undefined;
    } catch (error) {
      this.#sayWhy(root, groupKeys, error);
      return undefined;
    }
  }

  /** There is no such application any more. */
  forget(root: ByteString): void {
    const known = this.#known.get(root);
    if (known !== undefined) known.isForgotten = true;
    this.left(root);
  }

  /** A process of it has ended, and what it had left with it. */
  left(root: ByteString): void {
    const known = this.#known.get(root);
    if (known?.isForgotten === true && isRemoved(known.group.path)) this.#known.delete(root);
  }

  /** Ends what is left in the groups, and removes them. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const all = [...this.#known.values()];
    await Promise.all(all.map(({ group }) => removeGroup(group.path)));
  }

  /** What of the limits can be kept here; the rest is said. */
  #keepable(root: ByteString, limits: KernelLimits): KernelLimits {
    const wanted = groupKeys.filter(({ name }) => limits[name] !== undefined);
    let enabled: ReadonlySet<string>;
    try {
      enabled = this.#enable(wanted.map(({ controller }) => controller));
    } catch (error) {
      this.#sayWhy(root, wanted, error);
      return {};
    }
    const missing = wanted.filter(({ controller }) => !enabled.has(controller));
    for (const { key, controller } of missing) {
      this.#say(root, [key], whyMissing(controller, this.#home ?? ""));
    }
    const kept = wanted.filter(({ controller }) => enabled.has(controller));
    return Object.fromEntries(kept.map(({ name }) => [name, limits[name]]));
  }

  /** Has the controllers in groups below ours. @returns those that are. @throws Error. */
  #enable(wanted: readonly string[]): ReadonlySet<string> {
    this.#home ??= findHome();
    const home = this.#home;
    const offered = wordsOf(home, "cgroup.controllers");
    const on = new Set(wordsOf(home, "cgroup.subtree_control"));
    const more = wanted.filter((controller) => offered.includes(controller) && !on.has(controller));
    if (more.length === 0) return on;
    if (!isRootGroup(home)) moveToLeaf(home);
    for (const controller of more) {
      tellGroup(home, "cgroup.subtree_control", `+${controller}`);
      on.add(controller);
    }
    return on;
  }

  #make(root: ByteString, limits: KernelLimits): AppGroup {
    this.#made += 1;
    const name = basename(toText(root)).replace(/[^A-Za-z0-9-]/g, "_");
    const shown = name.slice(0, maxShownName);
    const path = join(this.#home ?? "", `${ownPrefix()}${this.#made}-${shown}`);
    mkdirSync(path, { mode: 0o755 });
    const group = new AppGroup(path);
    const known = { group, limits: {}, isForgotten: false, kills: 0, refuses: false };
    this.#known.set(root, known);
    this.#apply(known, limits);
    this.#timer ??= setInterval(() => this.#look(), lookEveryMs).unref();
    return group;
  }

  #apply(known: Known, limits: KernelLimits): void {
    const { path } = known.group;
    if (Bun.deepEquals(known.limits, limits)) return;
    for (const { name, file, usual } of groupKeys) {
      if (known.limits[name] === limits[name]) continue;
      tellGroup(path, file, String(limits[name] ?? usual));
    }
    // Memory that is swapped out is used all the same.
    if (existsSync(join(path, "memory.swap.max"))) {
      tellGroup(path, "memory.swap.max", limits.memoryMax === undefined ? "max" : "0");
    }
    known.limits = limits;
  }

  #look(): void {
    for (const [root, known] of this.#known) {
      const { group, kills, refuses, limits } = known;
      const app = escapeForLog(root);
      known.kills = group.memoryKills;
      if (kills > 0 && known.kills > 0) {
        const cause = memoryCause;
        this.#notify(0, "processes of an application are ended", { app, count: kills, cause });
        group.explainAll();
        known.kills = 0;
      }
      known.refuses = group.refusesTasks();
      if (!known.refuses || refuses) continue;
      const cause = `tasks_max, ${limits.tasksMax}, is reached`;
      this.#notify(0, "an application gets no more processes or threads", { app, cause });
    }
  }

  #sayWhy(root: ByteString, keys: readonly GroupKey[], error: unknown): void {
    const why = causeText(error);
    const home = this.#home;
    const cause = home === undefined ? why : `divide the group ${home}: ${why}; ${advice}`;
    const names = keys.map(({ key }) => key);
    this.#say(root, names, cause);
  }

  #say(root: ByteString, keys: readonly string[], cause: string): void {
    const unsaid = keys.filter((key) => !this.#said.has(key));
    if (unsaid.length === 0) return;
    for (const key of unsaid) this.#said.add(key);
    const fields = { keys: unsaid.join(", "), app: escapeForLog(root), cause };
    this.#notify(0, "limits are not kept, applications run without", fields);
  }
}

/** Why the kernel ends a process: what its end is called in the log. */
export const memoryCause = "the kernel ended it, its application has used up memory_max";

const advice = "have one delegated: Delegate=yes in a unit, or systemd-run --property=Delegate=yes";

/** The group whose children ours are to be; removes what a server that died has left. */
function findHome(): string {
  const own = ownGroup();
  if (own === undefined) throw new Error("there is no cgroup v2 here");
  const home = basename(own) === leafName ? dirname(own) : own;
  for (const name of readdirSync(home)) {
    const [, pid, started] = /^app-(\d+)-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || statOf(Number(pid))?.startedTicks === Number(started)) continue;
    void removeGroup(join(home, name));
  }
  return home;
}

/** Tells our groups from those of servers before us, also of our process id. */
function ownPrefix(): string {
  return `app-${process.pid}-${statOf(process.pid)?.startedTicks ?? 0}-`;
}

/** @throws Error: another's process is there, or the group is not ours to divide. */
function moveToLeaf(home: string): void {
  const leaf = join(home, leafName);
  const strangers = wordsOf(home, "cgroup.procs").filter((pid) => !isOurs(Number(pid)));
  if (strangers.length > 0) {
    throw new Error(`processes of others are in it, such as ${strangers[0]}`);
  }
  mkdirSync(leaf, { recursive: true });
  for (let round = 0; round < maxRounds; round += 1) {
    const pids = wordsOf(home, "cgroup.procs");
    if (pids.length === 0) return;
    for (const pid of pids) moveTo(leaf, pid);
  }
}

function moveTo(leaf: string, pid: string): void {
  try {
    tellGroup(leaf, "cgroup.procs", pid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Whether it is this server, its parent (which may be the supervisor), or a descendant of that. */
function isOurs(pid: number): boolean {
  const roots = [process.pid, process.ppid];
  for (let at = pid; at > 0; at = statOf(at)?.parent ?? 0) if (roots.includes(at)) return true;
  return false;
}

function whyMissing(controller: string, home: string): string {
  if (isOfVersionOne(controller)) {
    return `the controller ${controller} is one of cgroup v1 here; v2 has to have it`;
  }
  return isRootGroup(home)
    ? `this kernel has no controller ${controller}`
    : `the group ${home} has no controller ${controller}; ${advice}`;
}
