/** The clock that systemd counts by: clock_gettime(2). Bun's own begin with the process. */
import { C, timespec } from "./layout.ts";
import { address, arenaView, checked, loadFunctions, reserve } from "./libc.ts";

const functions = loadFunctions({ clock_gettime: { args: ["i32", "ptr"], returns: "i32" } });

const timeOffset = reserve(timespec.size);

/** CLOCK_MONOTONIC in microseconds. */
export function monotonicMicroseconds(): number {
  checked(functions.clock_gettime(C.CLOCK_MONOTONIC, address(timeOffset)), "clock_gettime");
  const seconds = Number(arenaView.getBigInt64(timeOffset + timespec.seconds, true));
  const nanoseconds = Number(arenaView.getBigInt64(timeOffset + timespec.nanoseconds, true));
  return seconds * 1e6 + Math.floor(nanoseconds / 1000);
}
