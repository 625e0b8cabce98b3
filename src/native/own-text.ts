/**
 * The program's own code and constants in memory. To start touches most of what a long life never
 * needs again, and the kernel maps many pages around each one that is touched: 30 MiB, which count
 * as this process's as long as it lives. Given up once (madvise(2) MADV_DONTNEED), only those come
 * back that are used, from the page cache: a third. Nobody writes to them, so nothing can be lost.
 */
import { C } from "./layout.ts";
import { libc } from "./libc.ts";
import { kernelText } from "./process-stat.ts";

/** Until a process has started, and those that it starts. */
const afterStartMs = 2_000;
/** Until the heap has been shrunk, which needs code too. */
const shrinkMs = 500;

/**
 * A line of proc(5) maps: code of a file, or what lies before the code and is read only (what lies
 * behind it has been written when the program was linked); without an inode it was made in memory.
 */
const codeOfFile = /^([0-9a-f]+)-([0-9a-f]+) (?:r-xp [0-9a-f]+|r--p 0+) \S+ [1-9]/;

/** Gives up the pages of code that only the start has needed, a moment later. */
export function giveUpStart(): void {
  setTimeout(giveUpCode, afterStartMs).unref();
}

/**
 * The same and what the heap keeps of the start, some 1 MiB. Compiled functions go with it, so it
 * is for a process on which no request waits.
 */
export function giveUpStartAndHeap(): void {
  setTimeout(() => Bun.shrink(), afterStartMs).unref();
  setTimeout(giveUpCode, afterStartMs + shrinkMs).unref();
}

/** Does nothing where it cannot be done. */
export function giveUpCode(): void {
  for (const line of kernelText("/proc/self/maps").split("\n")) {
    const [, first = "", end = ""] = codeOfFile.exec(line) ?? [];
    const start = Number.parseInt(first, 16);
    const bytes = Number.parseInt(end, 16) - start;
    if (first !== "") libc.syscall(C.SYS_MADVISE, start, bytes, C.MADV_DONTNEED, 0, 0);
  }
}
