/**
 * Open descriptors, counted around every test: whatever a test opened it must have closed, and it
 * must not have closed what was open before. Also the means to run out of them on purpose.
 */
import { afterEach, beforeEach, setDefaultTimeout } from "bun:test";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

import { getDescriptorLimit, setDescriptorLimit } from "../../src/native/process.ts";
import { patienceMs, until } from "./condition.ts";

/** What the runtime opens for itself at the first need and keeps: no leak of anybody's. */
const runtimeOwn = /^anon_inode:\[(eventpoll|eventfd|timerfd|io_uring)\]$|^\/dev\/(u?random)$/;

/** Open descriptors of a process and what they are. */
export function openDescriptors(pid: number | "self" = "self"): Map<number, string> {
  const directory = `/proc/${pid}/fd`;
  const found = new Map<number, string>();
  for (const name of readdirSync(directory)) {
    try {
      found.set(Number(name), readlinkSync(`${directory}/${name}`));
    } catch {
      // The descriptor the listing itself was read with; closed by now.
    }
  }
  return found;
}

/** What `now` has and `before` had not, or the other way round, as text. */
export function descriptorChanges(
  before: ReadonlyMap<number, string>,
  now: ReadonlyMap<number, string>,
): string[] {
  const changes: string[] = [];
  for (const [fd, what] of now) {
    if (before.get(fd) !== what && !runtimeOwn.test(what)) changes.push(`opened ${fd} ${what}`);
  }
  for (const [fd, what] of before) {
    if (now.get(fd) !== what && !runtimeOwn.test(what)) changes.push(`closed ${fd} ${what}`);
  }
  return changes;
}

let before = new Map<number, string>();
/** What files before this one have left: it may go at any time, as what is collected as garbage. */
let inherited = new Map<number, string>();

function changesSince(): string[] {
  const standard = 2;
  const ours = [...before].filter(([fd, what]) => fd <= standard || inherited.get(fd) !== what);
  const now = openDescriptors();
  const closed = descriptorChanges(new Map(ours), now).filter((one) => one.startsWith("closed"));
  const opened = descriptorChanges(before, now).filter((one) => one.startsWith("opened"));
  return [...opened, ...closed];
}

/**
 * Makes every test of the file fail that leaves a descriptor open or closes one that is not its
 * own.
 */
export function countDescriptors(): void {
  inherited = openDescriptors();
  // A wait for a condition says what it waited for; the runner's own limit must not come first.
  setDefaultTimeout(6 * patienceMs);
  beforeEach(() => {
    before = openDescriptors();
  });
  afterEach(async () => {
    // Bun closes a terminated socket on a later turn of its loop.
    const done = (): boolean => changesSince().length === 0;
    await until("all descriptors are as they were before the test", done, changesSince, 3000);
  });
}

/** The file status flags of a descriptor, as the kernel has them (proc(5), fdinfo). */
export function descriptorFlags(fd: number, pid: number | "self" = "self"): number {
  const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8");
  const octal = /^flags:\s*([0-7]+)$/m.exec(info)?.[1];
  if (octal === undefined) throw new Error(`fdinfo of ${fd} has no flags`);
  return Number.parseInt(octal, 8);
}

export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

/**
 * Takes every descriptor but `spare` of them until it is disposed of. Between the two nothing else
 * may be awaited.
 */
export function exhaustDescriptors(spare = 0): Disposable {
  const limit = getDescriptorLimit();
  const highest = Math.max(...openDescriptors().keys());
  setDescriptorLimit({ soft: BigInt(highest + 8), hard: limit.hard });
  const taken: number[] = [];
  const free = (): void => {
    for (const fd of taken.splice(0)) closeSync(fd);
    setDescriptorLimit(limit);
  };
  for (;;) {
    try {
      taken.push(openSync("/dev/null", "r"));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EMFILE") break;
      free();
      throw error;
    }
  }
  for (const fd of taken.splice(0, spare)) closeSync(fd);
  return { [Symbol.dispose]: free };
}
