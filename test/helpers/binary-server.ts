/**
 * The compiled binary, started as a parent starts it, with an environment of its own and stderr in
 * a file.
 */
import { closeSync, existsSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { spawnServerScript } from "./in-process-server.ts";
import type { RunningServer, ServerFiles, ServerSetup } from "./pool-server.ts";
import { markVariable } from "./processes.ts";

/** What `scripts/build.ts` builds. */
export const binaryPath = join(import.meta.dir, "../../dist/ApplicationPoolServerExecutable");

/** Nothing of the test's own environment but what any program needs. */
export const plainEnvironment = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };

function positionals(files: ServerFiles, setup: ServerSetup): string[] {
  const { logFile = files.output, builtin, shellSpawnServer, user = "" } = setup.binary ?? {};
  const fifo = setup.statusFifo === true ? files.fifo : "";
  const logLevel = String(setup.logLevel ?? 4);
  if (builtin === true) return [logLevel, "", logFile, "", user, fifo];
  if (shellSpawnServer === undefined) {
    return [logLevel, spawnServerScript, logFile, process.execPath, user, fifo];
  }
  const script = join(files.directory, "spawn-server.sh");
  writeFileSync(script, shellSpawnServer);
  return [logLevel, script, logFile, "/bin/sh", user, fifo];
}

function options(setup: ServerSetup): string[] {
  const values: [string, string | number | undefined][] = [
    ["max", setup.max],
    ["max-per-app", setup.maxPerApp],
    ["max-idle-time", setup.maxIdleSeconds],
    ["max-wait", setup.maxWaitSeconds],
    ["max-queue", setup.maxQueue],
    ["share-after", setup.binary?.shareAfterSeconds],
    ["spawn-timeout", setup.spawnTimeoutSeconds],
    ["log-format", setup.logFormat],
  ];
  return values.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, `${value}`]));
}

export async function startBinary(
  wakeSocket: OwnedFd,
  files: ServerFiles,
  mark: string,
  setup: ServerSetup,
): Promise<RunningServer> {
  if (!existsSync(binaryPath)) throw new Error(`${binaryPath} is missing: run scripts/build.ts`);
  setup.binary?.prepare?.(files);
  const log = openSync(files.log, "a");
  using theirs = wakeSocket;
  const child = Bun.spawn(
    [...(setup.binary?.wrapper ?? []), binaryPath, ...positionals(files, setup), ...options(setup)],
    {
      cwd: files.directory,
      env: {
        ...plainEnvironment,
        TMPDIR: files.directory,
        ...setup.environment,
        [markVariable]: mark,
      },
      stdio: ["ignore", log, log, theirs.number],
    },
  );
  closeSync(log);
  return {
    pid: child.pid,
    inProcess: false,
    ended: child.exited.then((status) => child.signalCode ?? status),
    terminate: () => child.kill("SIGTERM"),
    kill: () => child.kill("SIGKILL"),
  };
}
