/**
 * The JavaScript heap, of which the children that fork(2) makes need nothing: they run C alone
 * (start-program.c). It is left out of what they get (madvise(2) MADV_DONTFORK). Else its pages
 * would be entered in the tables of each, and then copied, one by one, when the server writes to
 * them again, which takes longer than the fork itself. What vfork(2) makes has all memory.
 */
import { C } from "./layout.ts";
import { libc } from "./libc.ts";
import { kernelText } from "./process-stat.ts";

/** A line of proc(5) maps: memory of this process's alone, and of no file. */
const anonymous = /^([0-9a-f]+)-([0-9a-f]+) rw.p 0+ 00:00 0 *$/;

/**
 * The runtime reserves this much for the heap at once. Mappings beside each other of other sizes
 * may be something else in part, as a thread's stack, which the C library's fork writes to.
 */
const reservedBytes = 2 ** 30;

/** What surrounds the compiled C: its constants and jumps. All of it is smaller than 16 KiB. */
const codeBytes = 64 * 1024;

/** @param code the address of what children run, if it lies in the heap. Does nothing elsewhere. */
export function leaveHeapToUs(code: number): void {
  for (const [start, end] of runsOfMemory(kernelText("/proc/self/maps"))) {
    if (code < start || code >= end || (end - start) % reservedBytes !== 0) continue;
    // Pages of any size end at multiples of this.
    const middle = Math.floor(code / codeBytes) * codeBytes;
    leaveOut(start, Math.max(start, middle - codeBytes));
    leaveOut(Math.min(end, middle + 2 * codeBytes), end);
  }
}

/** Mappings that lie side by side are one. */
function runsOfMemory(maps: string): [start: number, end: number][] {
  const runs: [number, number][] = [];
  for (const line of maps.split("\n")) {
    const [, first, last] = anonymous.exec(line) ?? [];
    if (first === undefined || last === undefined) continue;
    const [start, end] = [Number.parseInt(first, 16), Number.parseInt(last, 16)];
    const before = runs.at(-1);
    if (before?.[1] === start) before[1] = end;
    else runs.push([start, end]);
  }
  return runs;
}

/** Where the kernel cannot, children get it as before. */
function leaveOut(start: number, end: number): void {
  libc.syscall(C.SYS_MADVISE, start, end - start, C.MADV_DONTFORK, 0, 0);
}
