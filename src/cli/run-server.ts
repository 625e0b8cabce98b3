/** The parts of the server put together; the server itself knows of no command line. */

import { SyscallError } from "../native/errno.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { giveUpStart } from "../native/own-text.ts";
import { adoptOrphans } from "../native/process.ts";
import { Pool } from "../pool/pool.ts";
import { raiseDescriptorLimit } from "../server/descriptor-limit.ts";
import { LineWriter } from "../logging/line-writer.ts";
import { Log } from "../logging/log.ts";
import { OutputLogs } from "../logging/output-logs.ts";
import { Server } from "../server/server.ts";
import type { WakeLoop } from "../server/wake.ts";
import type { BuiltinSpawnerOptions } from "../spawn/builtin/builtin-spawner.ts";
import type { Spawner } from "../spawn/spawner.ts";
import { toText, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import type { Config } from "./config.ts";
import { reapStrangers } from "./reaper.ts";
import { reportMistakes } from "./mistakes.ts";
import { onSignal } from "./signals.ts";
import { StartError } from "./usage-error.ts";

/** How long the end waits for a log that takes nothing. */
const lastLinesMs = 100;

/**
 * Runs the server until it ends.
 * @param supervisor our end of the supervisor's channel; undefined: there is none.
 * @throws StartError before anything is started.
 */
export async function runServer(
  config: Config,
  wake: WakeLoop,
  supervisor: OwnedFd | undefined,
): Promise<void> {
  adoptOrphans();
  reapStrangers();
  giveUpStart();
  const originalDescriptorLimit = raiseDescriptorLimit();
  const { logFile, logFormat: format, ruby, statusFifo, spawnTimeoutMs } = config;
  const stderr = new LineWriter(undefined);
  const common = logFile === undefined ? stderr : openLog(logFile);
  const log = new Log(config.logLevel, format, (line) => stderr.write(line));
  reportMistakes(log);
  const outputs = new OutputLogs({ common, format, log, keepsRecent: supervisor !== undefined });
  const spawner = await chooseSpawner(config, {
    notify: log.event.bind(log),
    originalDescriptorLimit,
    writeOutput: outputs.write,
    ...(ruby === "" ? {} : { ruby }),
    ...(config.exitsEarly ? { heirsLog: { file: logFile, format } } : {}),
  });
  const isBuiltin = spawner.pid === process.pid;
  const pool = new Pool(
    {
      maxWaitMs: config.maxWaitMs,
      maxQueue: config.maxQueue,
      ...(config.shareAfterMs === 0 ? {} : { shareAfterMs: config.shareAfterMs }),
      // Processes of a spawn server are not ours to end.
      ...(isBuiltin ? { abandonMs: config.abandonMs, requestMs: config.requestMs } : {}),
      spawnsAtOnce: spawner.spawnsAtOnce,
      // One conversation at a time: what hangs in it cannot be passed by.
      slowSpawnMs: spawner.spawnsAtOnce === 1 ? Infinity : 10_000,
      failurePause: spawner.pausesAfterFailures ? { firstMs: 1000, maxMs: 30_000 } : undefined,
    },
    config.limits,
  );
  const server = new Server({
    wake,
    supervisor,
    spawner,
    pool,
    log,
    outputs,
    spawnTimeoutMs,
    statusFifo,
  });
  obeySignals(server, outputs);
  await server.start();
  await server.ended;
  await Promise.all([stderr.close(lastLinesMs), outputs.close(lastLinesMs)]);
}

function openLog(path: ByteString): LineWriter {
  try {
    return new LineWriter(path);
  } catch (error) {
    const cause = error instanceof SyscallError ? error.code : causeText(error);
    throw new StartError(`LOG_FILE '${toText(path)}' cannot be opened: ${cause}`);
  }
}

/** Only the spawner that is asked for is loaded: a parent waits for us to start. */
async function chooseSpawner(config: Config, options: BuiltinSpawnerOptions): Promise<Spawner> {
  if (config.spawnServer === "" || config.spawnServer === "builtin") {
    const { BuiltinSpawner } = await import("../spawn/builtin/builtin-spawner.ts");
    return new BuiltinSpawner(options);
  }
  const { SpawnServer } = await import("../spawn/spawn-server.ts");
  const { notify, originalDescriptorLimit } = options;
  const command = {
    ruby: config.ruby,
    script: config.spawnServer,
    ...(config.logFile === undefined ? {} : { logFile: config.logFile }),
    ...(config.user === undefined || process.geteuid?.() !== 0 ? {} : { user: config.user }),
  };
  return new SpawnServer({
    command,
    notify,
    ...(originalDescriptorLimit === undefined ? {} : { originalDescriptorLimit }),
  });
}

/** SIGINT, also a storm of it, and SIGTERM end the server; a second SIGTERM skips the waits. */
function obeySignals(server: Server, outputs: OutputLogs): void {
  let terms = 0;
  onSignal((signal) => {
    switch (signal) {
      case "SIGINT":
        return server.stop(signal);
      case "SIGTERM":
        terms += 1;
        server.stop(signal);
        return terms > 1 ? server.hurry() : undefined;
      case "SIGHUP":
      case "SIGUSR1":
        return outputs.reopen();
      case "SIGUSR2":
        return;
    }
  });
}
