/**
 * Starts programs without the start of our own binary between: start-program.c, compiled by Bun
 * when the first is started. Its process is a child that Bun knows nothing of: `takeEnd` is how its
 * end is seen.
 */
import { cc, toArrayBuffer, type Pointer } from "bun:ffi";

import { errnoName } from "./errno.ts";
import { C } from "./layout.ts";
import { address, type allocate, arenaView, libc, loadFunctions, reserve } from "./libc.ts";
import { groupIdBytes, groupsOf } from "./file-rights.ts";
import { fileInMemory } from "./memory-file.ts";
import { stringVectors, type ResourceLimit, type User } from "./process.ts";
import source from "./start-program.c" with { type: "text" };
import { leaveHeapToUs } from "./unforked-heap.ts";

/** All strings are byte strings. */
export interface DirectStart {
  readonly argv: readonly string[];
  readonly environment: readonly string[];
  /** Where the program may lie: the first that there is counts, as in execvp(3). */
  readonly places: readonly string[];
  /** How it is scheduled: see scheduleAsBatch (process.ts). */
  readonly isBatch?: boolean;
  /** What runs instead when something goes wrong. */
  readonly launcher: {
    readonly argv: readonly string[];
    readonly environment: readonly string[];
  };
  /** What is written to descriptor 4 when not even that can; its last 16 bytes become the errno. */
  readonly failure: Uint8Array;
  /** Working directory; with an identity, no other than that one. */
  readonly directory?: { readonly path: string; readonly identity?: string };
  /** Where to go on from there. */
  readonly cwd?: string;
  readonly user?: User;
  /** The file of a control group that it is to be in (cgroup.procs). */
  readonly group?: string;
  readonly limits?: readonly ResourceLimit[];
  readonly umask?: number;
}

const statusOffset = reserve(4);
const wordBytes = 8;

/** Those that execve(2) knows, by number. */
const errorNames = Array.from({ length: 41 }, (_, number) => errnoName(number));

/**
 * For what C is given addresses of: memory outside of the heap, of which the process that is
 * started has no copy. An environment of more is left to the launch command.
 */
const roomBytes = 1024 * 1024;

/** System calls that start-program.c makes by their numbers. */
const calls = [
  ...(["SYS_CLONE", "SYS_CLOSE_RANGE", "SYS_FSTAT", "SYS_SETGROUPS", "SYS_SETGID"] as const),
  ...(["SYS_SETUID", "SYS_SCHED_GETSCHEDULER", "SYS_SCHED_SETSCHEDULER"] as const),
];

interface Starter {
  readonly run: (start: Pointer) => number;
  readonly room: Uint8Array;
  readonly roomAddress: Pointer;
}

let starter: Starter | "impossible" | undefined;

/** Compiles what starts programs, which takes milliseconds; does nothing the second time. */
export function prepareStarts(): void {
  starter ??= makeStarter();
}

function makeStarter(): Starter | "impossible" {
  const c = loadFunctions({
    setenv: { args: ["ptr", "ptr", "i32"], returns: "i32" },
    unsetenv: { args: ["ptr"], returns: "i32" },
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
  });
  const variable = Buffer.from("BUN_TMPDIR\0".padEnd(64, "\0"));
  // Or the compiler leaves headers in the directory for temporary files.
  const nowhere = Buffer.from("/proc/self/fdinfo\0".padEnd(64, "\0"));
  c.setenv(variable, nowhere, 1);
  try {
    using file = fileInMemory(source);
    const { symbols } = cc({
      source: `/proc/self/fd/${file.number}`,
      define: {
        ...Object.fromEntries(calls.map((call) => [call, `${C[call]}L`])),
        O_DIRECTORY_PATH: String(C.O_PATH | C.O_DIRECTORY | C.O_CLOEXEC),
      },
      symbols: { start_program: { args: ["ptr"], returns: "int" } },
    });
    const [access, kind] = [C.PROT_READ | C.PROT_WRITE, C.MAP_PRIVATE | C.MAP_ANONYMOUS];
    const roomAddress = Number(c.mmap(null, roomBytes, access, kind, -1, 0)) as Pointer;
    if (!Number.isSafeInteger(roomAddress)) return "impossible"; // MAP_FAILED
    // Bun's types do not know that a function has its address.
    const run = symbols.start_program as typeof symbols.start_program & { ptr: Pointer };
    leaveHeapToUs(run.ptr);
    return { run, room: new Uint8Array(toArrayBuffer(roomAddress, 0, roomBytes)), roomAddress };
  } catch {
    return "impossible"; // The launch command does it alone.
  } finally {
    c.unsetenv(variable);
  }
}

/**
 * Starts a program with /dev/null and exactly these four descriptors, as 0 to 4: in a session of
 * its own, with default signal actions, and no new privileges. @returns its process id, a child
 * that takeEnd is to be asked about; undefined: it cannot be done so.
 */
export function startProgram(
  start: DirectStart,
  descriptors: readonly [number, number, number, number],
): number | undefined {
  prepareStarts();
  if (starter === undefined || starter === "impossible") return undefined;
  const { directory, cwd, user, group, limits = [], umask, launcher } = start;
  const optional = [directory?.path, cwd, group].map((text) => (text === undefined ? [] : [text]));
  const lists = [start.argv, start.environment, start.places, launcher.argv, launcher.environment];
  const take = partsOf(starter);
  try {
    const { vectors } = stringVectors([...lists, ...optional, errorNames], take);
    const [device = "0", inode = "0"] = directory?.identity?.split(":") ?? [];
    const groups = user === undefined ? new Uint8Array() : groupsOf(user);
    if (groups === undefined) return undefined;
    const groupBlock = take(groups.length);
    groupBlock.bytes.set(groups);
    const failure = take(start.failure.length);
    failure.bytes.set(start.failure);
    const words = (numbers: readonly (number | bigint)[]) => wordsIn(take, numbers);
    const numbers = [
      vectors.slice(0, -1),
      [user === undefined ? 0 : 1, user?.uid ?? 0, user?.gid ?? 0],
      [groupBlock.address, groups.length / groupIdBytes],
      [directory?.identity === undefined ? 0 : 1, BigInt(device), BigInt(inode)],
      [words(limits.flat()), limits.length],
      [umask === undefined ? 0 : 1, umask ?? 0],
      [start.isBatch === true ? 1 : 0],
      descriptors,
      [failure.address, start.failure.length],
      [vectors.at(-1) ?? 0, errorNames.length],
    ].flat();
    const pid = starter.run(words(numbers));
    return pid < 0 ? undefined : pid;
  } catch (error) {
    if (error instanceof RangeError) return undefined; // Too long, or with a NUL.
    throw error;
  }
}

type Take = typeof allocate;

/** Gives out parts of the room, which are zero, for one start. Throws RangeError: it is full. */
function partsOf({ room, roomAddress }: Starter): Take {
  let used = 0;
  return (length) => {
    const from = used;
    // Words lie at multiples of their size.
    used += Math.ceil(length / wordBytes) * wordBytes;
    if (used > room.length) throw new RangeError(`${used} bytes for a start: too much`);
    const bytes = room.subarray(from, used).fill(0);
    const view = new DataView(room.buffer, from, used - from);
    return { bytes, view, address: (roomAddress + from) as Pointer };
  };
}

/** Words of 64 bits. */
function wordsIn(take: Take, numbers: readonly (number | bigint)[]): Pointer {
  const block = take(numbers.length * wordBytes);
  for (const [index, number] of numbers.entries()) {
    block.view.setBigUint64(index * wordBytes, BigInt(number), true);
  }
  return block.address;
}

/**
 * Takes the end of a child (waitpid(2)): its exit code, or minus the number of the signal that
 * ended it; 0 if somebody else has taken it. Undefined: it runs.
 */
export function takeEnd(pid: number): number | undefined {
  const taken = libc.waitpid(pid, address(statusOffset), C.WNOHANG);
  if (taken === 0) return undefined;
  if (taken < 0) return 0;
  const status = arenaView.getInt32(statusOffset, true);
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : -signal;
}
