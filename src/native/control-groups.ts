/**
 * Control groups of version 2 (cgroups(7); the kernel's admin-guide/cgroup-v2): where this process
 * is, and directories that are groups. Everything is a short read or write of a file that the
 * kernel makes up, so it waits for no device; but for what is told aside.
 */
import { existsSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { readMounts } from "./mounts.ts";
import { kernelText } from "./process-stat.ts";
import { sendSignal, signals } from "./process.ts";

/** For how long it is tried to remove a group whose processes are being killed. */
const removeMs = 2_000;
const lookEveryMs = 20;

/** The directory of this process's group; undefined: no hierarchy of version 2 is mounted. */
export function ownGroup(): string | undefined {
  const [, own] = /^0::(.*)$/m.exec(kernelText("/proc/self/cgroup")) ?? [];
  if (own === undefined) return undefined;
  for (const { type, root, path } of readMounts()) {
    if (type !== "cgroup2") continue;
    if (root === "/") return join(path, own);
    if (own === root || own.startsWith(`${root}/`)) return join(path, own.slice(root.length));
  }
  return undefined;
}

/** Whether version 1 has the controller: then version 2 has not. */
export function isOfVersionOne(controller: string): boolean {
  const lines = kernelText("/proc/self/cgroup").matchAll(/^[1-9]\d*:([^:]*):/gm);
  return Array.from(lines).some(([, names = ""]) => names.split(",").includes(controller));
}

/** Whether it is the root of the machine, which may have processes beside groups. */
export function isRootGroup(group: string): boolean {
  return !existsSync(join(group, "cgroup.type"));
}

/** The words of a file of a group, such as cgroup.controllers. @throws Error: it cannot be read. */
export function wordsOf(group: string, file: string): string[] {
  return readFileSync(join(group, file), "latin1").split(/\s+/).filter(Boolean);
}

/** Says something in a file of a group. @throws Error: the kernel refuses it. */
export function tellGroup(group: string, file: string, text: string): void {
  writeFileSync(join(group, file), text, { flag: "r+" });
}

/**
 * The same by another thread: less memory than is used makes the writer wait until the kernel has
 * taken the rest back, and ended processes for it. Rejects with an Error: the kernel refuses it.
 */
export function tellGroupAside(group: string, file: string, text: string): Promise<void> {
  return writeFile(join(group, file), text, { flag: "r+" });
}

/** A count in a file of lines `name count`, such as memory.events; 0: it is not there. */
export function countIn(group: string, file: string, name: string): number {
  const [, count = "0"] =
    new RegExp(`^${name} (\\d+)$`, "m").exec(kernelText(join(group, file))) ?? [];
  return Number(count);
}

/** Puts this process into the group of a cgroup.procs, if it is not there. @throws Error. */
export function joinGroup(processes: string): void {
  const name = basename(join(processes, ".."));
  if (kernelText("/proc/self/cgroup").trimEnd().endsWith(`/${name}`)) return;
  writeFileSync(processes, "0", { flag: "r+" });
}

/** Ends all that is in a group, and removes it. @returns whether it is gone. */
export async function removeGroup(group: string): Promise<boolean> {
  const untilMs = performance.now() + removeMs;
  while (!isRemoved(group) && performance.now() < untilMs) {
    killAll(group);
    await Bun.sleep(lookEveryMs);
  }
  return isRemoved(group);
}

/** Removes a group if nothing is in it. @returns whether it is gone. */
export function isRemoved(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

function killAll(group: string): void {
  try {
    if (existsSync(join(group, "cgroup.kill"))) return tellGroup(group, "cgroup.kill", "1");
    // Before Linux 5.14.
    for (const pid of wordsOf(group, "cgroup.procs")) sendSignal(Number(pid), signals.SIGKILL);
  } catch {
    // It is gone, or not ours: whether it could be removed says so.
  }
}
