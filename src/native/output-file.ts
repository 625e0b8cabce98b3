/**
 * Opens the file that an application's output is written to. It may lie in a directory of a tenant,
 * and is opened by root: by the rules of own-file.ts, on a file system that waits for nobody, and
 * only if it is a plain file.
 */
import { fstatSync } from "node:fs";

import { fromText } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { errnos, SyscallError } from "./errno.ts";
import { openOwn } from "./own-file.ts";
import type { OwnedFd } from "./owned-fd.ts";

/** For its owner and group: applications write secrets to their logs. */
const permissions = 0o640;

/** @throws Error when it cannot be opened, or is no place for a log. */
export function openOutputFile(path: string): OwnedFd {
  try {
    const file = openOwn(fromText(path), "append", {
      permissions,
      mayEnter: (mount) => mount === "local",
    });
    if (fstatSync(file.number).isFile()) return file;
    file.close();
  } catch (cause) {
    throw new Error(`open the log '${path}': ${why(cause)}`, { cause });
  }
  throw new Error(`open the log '${path}': it is no plain file`);
}

function why(error: unknown): string {
  if (!(error instanceof SyscallError)) return causeText(error);
  return error.errno === errnos.EXDEV ? "it is not on a local file system" : error.code;
}
