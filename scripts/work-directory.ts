/**
 * The temporary directory of a program that people interrupt. Its handlers of signals are there
 * before the directory is, so whenever an interrupt comes, what the program has started is ended
 * and the directory removed.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a shell says of a program that ended so: 128 and the signal's number. */
const statuses = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Makes a directory. The caller removes it when all goes well.
 * @param end ends what the program has started, before the directory goes.
 * @param parent where it is made; default: the system's place for temporary files.
 */
export function workDirectory(
  prefix: string,
  end: () => Promise<unknown> = () => Promise.resolve(),
  parent: string = tmpdir(),
): string {
  let directory: string | undefined;
  let isEnding = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      // timeout(1), for one, sends it twice: the second is not to end us amid the removal.
      if (isEnding) return;
      isEnding = true;
      void end().finally(() => {
        if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
        process.exit(statuses[signal]);
      });
    });
  }
  directory = mkdtempSync(join(parent, prefix));
  // Started by root, servers run applications as somebody else, who has to be able to read them.
  chmodSync(directory, 0o755);
  return directory;
}
