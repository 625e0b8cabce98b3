/**
 * Log files that the supervisor opens. The access log's it opens for its workers: they may be
 * somebody who could not, and are trusted with no more than its descriptor.
 */
import { SyscallError } from "../../native/errno.ts";
import { openOutputFile } from "../../native/output-file.ts";
import { openOwn } from "../../native/own-file.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { fromText } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import type { AppConfig } from "../config.ts";

/** For its owner and group: what visitors ask for may be secret. */
const permissions = 0o640;

/** @throws Error when it cannot be opened. */
export function openLogFile(path: string): OwnedFd {
  try {
    // Non-blocking: a pipe that nobody reads must not hold us.
    return openOwn(fromText(path), "append", { permissions });
  } catch (cause) {
    const why = cause instanceof SyscallError ? cause.code : causeText(cause);
    throw new Error(`open the access log '${path}': ${why}`, { cause });
  }
}

/** The pool server opens them: whoever has mistyped one learns it before. @throws Error. */
export function tryLogs(apps: readonly AppConfig[]): void {
  for (const { log } of apps) {
    if (log !== undefined && "file" in log) openOutputFile(log.file).close();
  }
}
