/** Directories for one test each, removed after it with all they hold. */
import { afterEach } from "bun:test";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * To be called once at the top of a test file. @returns a function that makes a new empty directory
 * whose path is short enough for a Unix socket's name below it.
 */
export function temporaryDirectories(): () => string {
  const made: string[] = [];
  afterEach(() => {
    for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true });
  });
  return () => {
    const path = mkdtempSync(join(tmpdir(), "pool-"));
    // Processes of other users are started in some of them.
    chmodSync(path, 0o755);
    made.push(path);
    return path;
  };
}
