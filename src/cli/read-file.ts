/** Reads a file that somebody has named: whole, bounded, and waiting for no FIFO's writer. */
import { fstatSync, readFileSync } from "node:fs";

import { SyscallError } from "../native/errno.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { openOwn } from "../native/own-file.ts";
import { fromText } from "../wire/bytes.ts";

/** @throws Error whose message says why not: `ENOENT`, `it is no regular file`. */
export function readRegularFile(path: string, maxBytes: number): Buffer {
  using file = openFile(path);
  const facts = fstatSync(file.number);
  if (!facts.isFile()) throw new Error("it is no regular file");
  const { size } = facts;
  if (size > maxBytes) throw new Error(`it has ${size} bytes, ${maxBytes} are possible`);
  return readFileSync(file.number);
}

function openFile(path: string): OwnedFd {
  try {
    return openOwn(fromText(path), "read");
  } catch (cause) {
    if (cause instanceof SyscallError) throw new Error(cause.code, { cause });
    throw cause;
  }
}
