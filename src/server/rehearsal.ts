/**
 * A rehearsal of an application's first start. Code that runs for the first time is slow: it takes
 * 7 ms of a first request. So everything is done once for an application of nobody's, before
 * anybody asks: by a client without a connection, for whom a driver and a pool of its own have the
 * real spawner make an instance. Neither the real pool nor the log hears of it.
 */
import { socketPair } from "../native/socket.ts";
import { Pool } from "../pool/pool.ts";
import type { PoolLimits } from "../pool/types.ts";
import type { Spawner } from "../spawn/spawner.ts";
import type { AppRequest } from "../wire/app-request.ts";
import { ascii } from "../wire/bytes.ts";
import { encodeCommand } from "../wire/commands.ts";
import type { InstanceOptions } from "../wire/configure.ts";
import { Client } from "./client.ts";
import { Driver } from "./driver.ts";
import { Log } from "../logging/log.ts";

/** A start that takes longer has gone wrong. */
const limitMs = 5_000;
const lookMs = 5;

/** Resolves with whether there was a session. @param limits those of the real pool. */
export async function rehearse(
  spawner: Spawner,
  limits: PoolLimits,
  app: AppRequest,
  options: InstanceOptions,
): Promise<boolean> {
  const log = new Log(1, "text", () => {});
  const { spawnsAtOnce } = spawner;
  const bounds = { maxWaitMs: limitMs, maxQueue: 0, spawnsAtOnce, slowSpawnMs: limitMs };
  const pool = new Pool(bounds, limits);
  const driver = new Driver({ spawner, pool, log, spawnTimeoutMs: limitMs });
  const [ours, theirs] = socketPair();
  using stack = new DisposableStack();
  stack.use(ours);
  stack.use(theirs);
  stack.defer(() => driver.close());
  driver.configure(app.root, options, app);
  const context = { driver, log, outputs: undefined, rights: "worker" as const };
  const client = new Client(0, ours.number, { ...context, admit: () => {}, ended: () => {} });
  stack.defer(() => client.end());
  client.receive(encodeCommand({ kind: "openDescriptorChannel" }));
  client.receive(encodeCommand({ kind: "getKept", tag: ascii("1"), app }));
  while (client.underWay === "get") await Bun.sleep(lookMs);
  return client.underWay === "session";
}
