/** The Server of the sources, in the test's own process, wired as the command line wires it. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";

import { OwnedFd } from "../../src/native/owned-fd.ts";
import { Pool } from "../../src/pool/pool.ts";
import { Log } from "../../src/logging/log.ts";
import { Server } from "../../src/server/server.ts";
import { WakeLoop } from "../../src/server/wake.ts";
import { SpawnServer } from "../../src/spawn/spawn-server.ts";
import { fromText } from "../../src/wire/bytes.ts";
import type { RunningServer, ServerFiles, ServerSetup } from "./pool-server.ts";
import { markVariable } from "./processes.ts";

/** The scriptable 2.0 spawn server. */
export const spawnServerScript = join(import.meta.dir, "spawn-server.ts");

export async function startInProcess(
  wakeSocket: OwnedFd,
  files: ServerFiles,
  mark: string,
  setup: ServerSetup,
): Promise<RunningServer> {
  const variables = { ...setup.environment, [markVariable]: mark };
  Object.assign(process.env, variables);
  const log = new Log(setup.logLevel ?? 4, setup.logFormat ?? "text", (line) =>
    appendFileSync(files.log, line),
  );
  const spawner = new SpawnServer({
    command: {
      ruby: fromText(process.execPath),
      script: fromText(spawnServerScript),
      logFile: fromText(files.output),
    },
    notify: log.event.bind(log),
  });
  const pool = new Pool(
    {
      maxWaitMs: (setup.maxWaitSeconds ?? 0) * 1000,
      maxQueue: setup.maxQueue ?? 0,
      spawnsAtOnce: spawner.spawnsAtOnce,
      slowSpawnMs: Infinity,
      failurePause: spawner.pausesAfterFailures ? { firstMs: 1000, maxMs: 30_000 } : undefined,
    },
    {
      max: setup.max ?? 20,
      maxPerApp: setup.maxPerApp ?? 0,
      maxIdleMs: (setup.maxIdleSeconds ?? 120) * 1000,
      useGlobalQueue: false,
    },
  );
  const server = new Server({
    wake: new WakeLoop(wakeSocket),
    spawner,
    pool,
    log,
    spawnTimeoutMs: (setup.spawnTimeoutSeconds ?? 90) * 1000,
    statusFifo: setup.statusFifo === true ? fromText(files.fifo) : undefined,
  });
  await server.start();
  return {
    pid: process.pid,
    inProcess: true,
    ended: server.ended.then(() => {
      for (const name of Object.keys(variables)) delete process.env[name];
      return 0;
    }),
    terminate: () => server.stop("the test asks for it"),
    kill: () => {
      server.stop("the test failed");
      server.hurry();
    },
  };
}
