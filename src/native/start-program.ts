/**
 * Starts programs without the start of our own binary between: start-program.c, compiled by Bun
 * when the first is started. Its process is a child that Bun knows nothing of: `takeEnd` is how its
 * end is seen.
 */
import { cc, type Pointer } from "bun:ffi";

import { errnoName } from "./errno.ts";
import { C } from "./layout.ts";
import { address, allocate, arenaView, libc, loadFunctions, reserve } from "./libc.ts";
import { fileInMemory } from "./memory-file.ts";
import { stringVectors, type ResourceLimit, type User } from "./process.ts";
import source from "./start-program.c" with { type: "text" };

/** All strings are byte strings. */
export interface DirectStart {
  readonly argv: readonly string[];
  readonly environment: readonly string[];
  /** Where the program may lie: the first that there is counts, as in execvp(3). */
  readonly places: readonly string[];
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

/** What C is given addresses of: it must not be collected before it has been used. */
const held = new Set<unknown>();

type StartFunction = (start: Pointer) => number;

let compiled: StartFunction | "impossible" | undefined;

/** Compiles what starts programs, which takes milliseconds; does nothing the second time. */
export function prepareStarts(): void {
  compiled ??= compile();
}

function compile(): StartFunction | "impossible" {
  const environment = loadFunctions({
    setenv: { args: ["ptr", "ptr", "i32"], returns: "i32" },
    unsetenv: { args: ["ptr"], returns: "i32" },
  });
  const variable = Buffer.from("BUN_TMPDIR\0".padEnd(64, "\0"));
  // Or the compiler leaves headers in the directory for temporary files.
  const nowhere = Buffer.from("/proc/self/fdinfo\0".padEnd(64, "\0"));
  environment.setenv(variable, nowhere, 1);
  try {
    using file = fileInMemory(source);
    const { symbols } = cc({
      source: `/proc/self/fd/${file.number}`,
      define: {
        SYS_FSTAT: `${C.SYS_FSTAT}L`,
        SYS_CLOSE_RANGE: `${C.SYS_CLOSE_RANGE}L`,
        O_DIRECTORY_PATH: String(C.O_PATH | C.O_DIRECTORY | C.O_CLOEXEC),
      },
      symbols: { start_program: { args: ["ptr"], returns: "int" } },
    });
    return symbols.start_program;
  } catch {
    return "impossible"; // The launch command does it alone.
  } finally {
    environment.unsetenv(variable);
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
  if (compiled === undefined || compiled === "impossible") return undefined;
  const { directory, cwd, user, group, limits = [], umask, launcher } = start;
  const optional = [directory?.path, cwd, user?.name, group].map((text) =>
    text === undefined ? [] : [text],
  );
  const lists = [start.argv, start.environment, start.places, launcher.argv, launcher.environment];
  if (lists.flat().some((text) => text.includes("\0"))) return undefined;
  const strings = stringVectors([...lists, ...optional, errorNames]);
  const [device = "0", inode = "0"] = directory?.identity?.split(":") ?? [];
  const failure = allocate(start.failure.length);
  failure.bytes.set(start.failure);
  const limitBlock = blockOf(limits.flat());
  const numbers = [
    strings.vectors.slice(0, -1),
    [user?.uid ?? 0, user?.gid ?? 0],
    [directory?.identity === undefined ? 0 : 1, BigInt(device), BigInt(inode)],
    [limitBlock.address, limits.length],
    [umask === undefined ? 0 : 1, umask ?? 0],
    descriptors,
    [failure.address, start.failure.length],
    [strings.vectors.at(-1) ?? 0, errorNames.length],
  ].flat();
  const block = blockOf(numbers);
  held.add([strings, failure, limitBlock, block]);
  const pid = compiled(block.address);
  held.clear();
  return pid < 0 ? undefined : pid;
}

/** Words of 64 bits; at least one, so that there is an address. */
function blockOf(numbers: readonly (number | bigint)[]): ReturnType<typeof allocate> {
  const block = allocate(Math.max(1, numbers.length) * wordBytes);
  for (const [index, number] of numbers.entries()) {
    block.view.setBigUint64(index * wordBytes, BigInt(number), true);
  }
  return block;
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
