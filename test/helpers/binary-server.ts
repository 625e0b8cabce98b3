/**
 * The compiled binary, started as a parent starts it, with an environment of its own and stderr in
 * a file.
 */
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { spawnServerScript } from "./in-process-server.ts";
import type { RunningServer, ServerFiles, ServerSetup } from "./pool-server.ts";
import { markVariable } from "./processes.ts";

/** What `scripts/build.ts` builds. */
export const binaryPath = join(import.meta.dir, "../../dist/ApplicationPoolServerExecutable");

/** Nothing of the test's own environment but what any program needs. */
export const plainEnvironment = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };

function optionArguments(setup: ServerSetup): string[] {
  const options: [string, string | number | undefined][] = [
    ["max", setup.max],
    ["max-per-app", setup.maxPerApp],
    ["max-idle-time", setup.maxIdleSeconds],
    ["max-wait", setup.maxWaitSeconds],
    ["max-queue", setup.maxQueue],
    ["spawn-timeout", setup.spawnTimeoutSeconds],
    ["log-format", setup.logFormat],
  ];
  return options.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, `${value}`]));
}

export async function startBinary(
  wakeSocket: OwnedFd,
  files: ServerFiles,
  mark: string,
  setup: ServerSetup,
): Promise<RunningServer> {
  if (!existsSync(binaryPath)) throw new Error(`${binaryPath} is missing: run scripts/build.ts`);
  const { fifo, output } = files;
  const positionals = [`${setup.logLevel ?? 4}`, spawnServerScript, output, process.execPath, ""];
  const log = openSync(files.log, "a");
  using theirs = wakeSocket;
  const child = Bun.spawn(
    [binaryPath, ...positionals, setup.statusFifo === true ? fifo : "", ...optionArguments(setup)],
    {
      cwd: files.directory,
      env: { ...plainEnvironment, ...setup.environment, [markVariable]: mark },
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
