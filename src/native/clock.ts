/** The clock that systemd counts by: clock_gettime(2). Bun's own begin with the process. */
import { SyscallError } from "./errno.ts";
import { C, timespec } from "./layout.ts";
import { address, arenaView, errno, loadFunctions, reserve } from "./libc.ts";

const functions = loadFunctions({ clock_gettime: { args: ["i32", "ptr"], returns: "i32" } });

const timeOffset = reserve(timespec.size);

/** CLOCK_MONOTONIC in microseconds. */
export function monotonicMicroseconds(): number {
  if (functions.clock_gettime(C.CLOCK_MONOTONIC, address(timeOffset)) < 0) {
    throw new SyscallError("clock_gettime", "CLOCK_MONOTONIC", errno());
  }
  const seconds = Number(arenaView.getBigInt64(timeOffset + timespec.seconds, true));
  const nanoseconds = Number(arenaView.getBigInt64(timeOffset + timespec.nanoseconds, true));
  return seconds * 1e6 + Math.floor(nanoseconds / 1000);
}
