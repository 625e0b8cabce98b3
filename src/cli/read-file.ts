/**
 * Reading a file that somebody has named: whole, bounded, and without waiting for anybody, as one
 * would for the writer of a FIFO.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";

/** @throws Error whose message says why not: `ENOENT`, `it is no regular file`. */
export function readRegularFile(path: string, maxBytes: number): Buffer {
  const fd = openFile(path);
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile()) throw new Error("it is no regular file");
    const { size } = facts;
    if (size > maxBytes) throw new Error(`it has ${size} bytes, ${maxBytes} are possible`);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new Error((cause as NodeJS.ErrnoException).code ?? String(cause), { cause });
  }
}
