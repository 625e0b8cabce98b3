/**
 * The access log's file, opened by the supervisor for its workers: they may be somebody who could
 * not open it, and are trusted with no more than its descriptor.
 */
import { SyscallError } from "../../native/errno.ts";
import { openOwn } from "../../native/own-file.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { fromText } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";

/** @throws Error when it cannot be opened. */
export function openLogFile(path: string): OwnedFd {
  try {
    // Non-blocking: a pipe that nobody reads must not hold us.
    return openOwn(fromText(path), "append");
  } catch (cause) {
    const why = cause instanceof SyscallError ? cause.code : causeText(cause);
    throw new Error(`open the access log '${path}': ${why}`, { cause });
  }
}
