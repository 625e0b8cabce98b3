/**
 * The C library through bun:ffi: the table of functions that every command needs, and the one arena
 * of memory handed to them. What only the gateway needs is a table of its own
 * (listening-socket.ts): each function costs time at the start.
 *
 * Rules: pointers passed to C point into the arena or into memory C itself owns, never into a small
 * typed array (its address goes stale when the JIT or the collector moves it). errno is read
 * directly after the call, before anything else runs. This file must not know what a client or an
 * instance is.
 */
import { dlopen, type FFIFunction, FFIType, type Pointer, ptr, toArrayBuffer } from "bun:ffi";

import { causeText } from "../wire/cause.ts";
import { SyscallError } from "./errno.ts";

const int = "i32";
const pointer = "ptr";
const size = "u64";
/** ssize_t and long: a number while it fits one, which every result of ours does. */
const long = FFIType.i64_fast;

const functions = {
  __errno_location: { args: [], returns: pointer },
  socketpair: { args: [int, int, int, pointer], returns: int },
  socket: { args: [int, int, int], returns: int },
  connect: { args: [int, pointer, int], returns: int },
  bind: { args: [int, pointer, int], returns: int },
  listen: { args: [int, int], returns: int },
  shutdown: { args: [int, int], returns: int },
  getsockopt: { args: [int, int, int, pointer, pointer], returns: int },
  getpeername: { args: [int, pointer, pointer], returns: int },
  send: { args: [int, pointer, size, int], returns: long },
  recv: { args: [int, pointer, size, int], returns: long },
  sendmsg: { args: [int, pointer, int], returns: long },
  recvmsg: { args: [int, pointer, int], returns: long },
  sendmmsg: { args: [int, pointer, int, int], returns: int },
  write: { args: [int, pointer, size], returns: long },
  close: { args: [int], returns: int },
  fcntl: { args: [int, int, int], returns: int },
  open: { args: [pointer, int, int], returns: int },
  pipe2: { args: [pointer, int], returns: int },
  ioctl: { args: [int, size, pointer], returns: int },
  unlink: { args: [pointer], returns: int },
  readlink: { args: [pointer, pointer, size], returns: long },
  poll: { args: [pointer, size, int], returns: int },
  prctl: { args: [int, size, size, size, size], returns: int },
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64"], returns: long },
  getrlimit: { args: [int, pointer], returns: int },
  setrlimit: { args: [int, pointer], returns: int },
  kill: { args: [int, int], returns: int },
  waitpid: { args: [int, pointer, int], returns: int },
  signal: { args: [int, "i64"], returns: long },
  sigprocmask: { args: [int, pointer, pointer], returns: int },
  chdir: { args: [pointer], returns: int },
  setsid: { args: [], returns: int },
  initgroups: { args: [pointer, "u32"], returns: int },
  setgid: { args: ["u32"], returns: int },
  setuid: { args: ["u32"], returns: int },
  getpwnam: { args: [pointer], returns: pointer },
  getpwuid: { args: ["u32"], returns: pointer },
  execve: { args: [pointer, pointer, pointer], returns: int },
} as const;

/** glibc, then musl under its two usual names. */
const libraries = [
  "libc.so.6",
  "libc.so",
  `ld-musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`,
];

/** Functions of the C library, by their C names. @throws Error where they cannot be had. */
export function loadFunctions<Table extends Record<string, FFIFunction>>(table: Table) {
  if (process.platform !== "linux" || (process.arch !== "x64" && process.arch !== "arm64")) {
    throw new Error(
      `loading the C library: ${process.platform} ${process.arch} is not supported; ` +
        "Linux on x64 and arm64 is",
    );
  }
  const causes: string[] = [];
  for (const library of libraries) {
    try {
      return dlopen(library, table).symbols;
    } catch (error) {
      causes.push(causeText(error));
    }
  }
  throw new Error(`loading the C library: ${causes.join("; ")}`);
}

export const libc = loadFunctions(functions);

/**
 * One long-lived buffer for everything C reads or writes. An ArrayBuffer this large lives outside
 * the collector's heap and never moves, so its address is taken once.
 */
const arenaSize = 256 * 1024;
const arenaBuffer = new ArrayBuffer(arenaSize);
const arenaAddress = ptr(new Uint8Array(arenaBuffer));
export const arenaBytes = new Uint8Array(arenaBuffer);
/** The arena for typed reads and writes (little-endian on both architectures). */
export const arenaView = new DataView(arenaBuffer);

let arenaUsed = 0;

/** Reserves `bytes` of the arena for good (start-up only); returns the offset, 16-aligned. */
export function reserve(bytes: number): number {
  const offset = arenaUsed;
  arenaUsed += (bytes + 15) & ~15;
  if (arenaUsed > arenaSize) throw new Error(`arena: ${arenaUsed} of ${arenaSize} bytes reserved`);
  return offset;
}

/** The C address of an arena offset. */
export function address(offset: number): Pointer {
  return (arenaAddress + offset) as Pointer;
}

/** Writes a size below 2^32 into 64 bits whose upper half is zero, as all is at first. */
export function putSize(offset: number, value: number): void {
  arenaView.setUint32(offset, value, true);
}

/** Writes a 64-bit address or size (below 2^53) into the arena. */
export function putWord(offset: number, value: number): void {
  arenaView.setUint32(offset, value >>> 0, true);
  arenaView.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

/** A block for what does not fit the arena; so large that it is outside of the heap too. */
export function allocate(bytes: number): { bytes: Uint8Array; view: DataView; address: Pointer } {
  const buffer = new ArrayBuffer(Math.max(bytes, 64 * 1024));
  const view = new Uint8Array(buffer);
  return { bytes: view, view: new DataView(buffer), address: ptr(view) };
}

const errnoAddress = libc.__errno_location();
if (errnoAddress === null) throw new Error("loading the C library: no errno");
// The address belongs to this thread for its life, so the view stays right.
const errnoView = new Int32Array(toArrayBuffer(errnoAddress, 0, 4));

/** errno of the last failed call; read it before anything else runs. */
export function errno(): number {
  return errnoView[0] ?? 0;
}

/** The result of a call, which has failed if it is below 0. @throws SyscallError. */
export function checked(result: number | bigint, call: string, what = ""): number {
  if (result < 0) throw new SyscallError(call, what, errno());
  return Number(result);
}

const pathRoom = 4096; // PATH_MAX with its NUL (limits.h)
const pathOffset = reserve(pathRoom);
const pathAddress = address(pathOffset);

/**
 * Puts a byte string with its NUL where C can read it, until the next call.
 * @throws RangeError when it holds a NUL or does not fit PATH_MAX.
 */
export function cPath(bytes: string): Pointer {
  const length = bytes.length;
  if (length >= pathRoom) {
    throw new RangeError(`path of ${length} bytes: the limit is ${pathRoom - 1}`);
  }
  for (let i = 0; i < length; i += 1) {
    const byte = bytes.charCodeAt(i);
    if (byte === 0) throw new RangeError("path contains a NUL byte");
    arenaBytes[pathOffset + i] = byte;
  }
  arenaBytes[pathOffset + length] = 0;
  return pathAddress;
}
