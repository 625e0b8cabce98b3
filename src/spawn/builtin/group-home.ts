/**
 * The control group whose children are those of applications: the server's own, if it may be
 * divided, by root or by whom it was delegated to. Above groups with limits there may be no
 * processes, so the server and all of the gateway move to a leaf of their own (cgroups(7), no
 * internal processes); never somebody else's processes.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import {
  isOfVersionOne,
  isRootGroup,
  ownGroup,
  removeGroup,
  tellGroup,
  wordsOf,
} from "../../native/control-groups.ts";
import { statOf } from "../../native/process-stat.ts";
import { causeText } from "../../wire/cause.ts";

/** The leaf of the server and the gateway. */
const leafName = "pool-server";
/** Forks may come while processes are moved. */
const maxRounds = 100;
const maxShownName = 50;

const advice = "have one delegated: Delegate=yes in a unit, or systemd-run --property=Delegate=yes";

/** `app-PID-START-`: tells our groups from those of servers before us, also of our process id. */
const groupName = /^app-(\d+)-(\d+)-/;

export class GroupHome {
  readonly #path: string;
  readonly #prefix = `app-${process.pid}-${statOf(process.pid)?.startedTicks ?? 0}`;
  #made = 0;

  /** Removes what a server that died has left. @throws Error: there is none. */
  constructor() {
    const own = ownGroup();
    if (own === undefined) throw new Error("there is no cgroup v2 here");
    this.#path = basename(own) === leafName ? dirname(own) : own;
    for (const name of readdirSync(this.#path)) {
      const [, pid, started] = groupName.exec(name) ?? [];
      if (pid === undefined || statOf(Number(pid))?.startedTicks === Number(started)) continue;
      void removeGroup(join(this.#path, name));
    }
  }

  /** Makes a group, whatever the application's name. @throws Error. */
  make(name: string): string {
    this.#made += 1;
    const shown = name.replace(/[^A-Za-z0-9-]/g, "_").slice(0, maxShownName);
    const path = join(this.#path, `${this.#prefix}-${this.#made}-${shown}`);
    try {
      mkdirSync(path, { mode: 0o755 });
    } catch (error) {
      throw this.#notDivided(error);
    }
    return path;
  }

  /** Has a controller in groups below. @throws Error: why that cannot be. */
  enable(controller: string): void {
    const home = this.#path;
    if (wordsOf(home, "cgroup.subtree_control").includes(controller)) return;
    if (!wordsOf(home, "cgroup.controllers").includes(controller)) {
      throw new Error(whyMissing(controller, home));
    }
    try {
      if (!isRootGroup(home)) moveToLeaf(home);
      tellGroup(home, "cgroup.subtree_control", `+${controller}`);
    } catch (error) {
      throw this.#notDivided(error);
    }
  }

  #notDivided(cause: unknown): Error {
    return new Error(`divide the group ${this.#path}: ${causeText(cause)}; ${advice}`, { cause });
  }
}

/** @throws Error: another's process is there, or the group is not ours to divide. */
function moveToLeaf(home: string): void {
  const leaf = join(home, leafName);
  const stranger = wordsOf(home, "cgroup.procs").find((pid) => !isOurs(Number(pid)));
  if (stranger !== undefined) {
    throw new Error(`processes of others are in it, such as ${stranger}`);
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
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // It has ended.
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
