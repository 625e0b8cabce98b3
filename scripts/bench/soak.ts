/**
 * A soak of the server: many get/close cycles, then many connects, with the server's memory,
 * descriptors and threads written down along the way. What is wanted is a curve that ends where it
 * began.
 *
 *     bun scripts/bench/soak.ts [--server PATH] [--cycles 1000000] [--connects 100000]
 *                               [--clients 16]
 *
 * Exit status 1 when descriptors or instances are not back where they were at the end.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { startPoolServer, type PoolConnection, type PoolServer } from "../../src/parent/index.ts";
import { numberFlag, readFlags } from "./flags.ts";
import { serverFlag } from "./frame.ts";

const {
  server: executable,
  cycles,
  connects,
  clients,
} = readFlags(Bun.argv.slice(2), {
  server: serverFlag,
  cycles: numberFlag(1_000_000),
  connects: numberFlag(100_000),
  clients: numberFlag(16),
});
const steps = 10;
const application = join(import.meta.dir, "../../examples/hello");

/** What the kernel knows of the server: resident KiB, descriptors, threads. */
function look(pid: number): { rssKb: number; descriptors: number; threads: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  const descriptors = readdirSync(`/proc/${pid}/fd`).length;
  return { rssKb: field("VmRSS"), descriptors, threads: field("Threads") };
}

function row(what: string, done: number, pid: number): number {
  const { rssKb, descriptors, threads } = look(pid);
  console.log(
    `${what.padEnd(10)} ${String(done).padStart(9)}` +
      `   rss ${(rssKb / 1024).toFixed(1).padStart(6)} MiB` +
      `   descriptors ${String(descriptors).padStart(4)}   threads ${threads}`,
  );
  return descriptors;
}

async function cycle(connection: PoolConnection, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const session = await connection.get(application);
    session.close();
  }
}

async function soakGets(server: PoolServer): Promise<void> {
  const connections = await Promise.all(Array.from({ length: clients }, () => server.connect()));
  const share = Math.ceil(cycles / steps / clients);
  for (let step = 1; step <= steps; step += 1) {
    await Promise.all(connections.map((connection) => cycle(connection, share)));
    row("get/close", step * share * clients, server.pid);
  }
  for (const connection of connections) connection.close();
}

async function soakConnects(server: PoolServer): Promise<void> {
  const share = Math.ceil(connects / steps);
  for (let step = 1; step <= steps; step += 1) {
    for (let i = 0; i < share; i += 1) (await server.connect()).close();
    row("connects", step * share, server.pid);
  }
}

await using server = startPoolServer({
  executable,
  stdio: ["ignore", "inherit", "inherit"],
});
const watcher = await server.connect();
(await watcher.get(application)).close();
const before = row("start", 0, server.pid);
const began = performance.now();
await soakGets(server);
await soakConnects(server);
watcher.clear();
await Bun.sleep(1000);
const after = row("cleared", 0, server.pid);
const { counters, count, sessions } = await watcher.inspect();
console.log(`gets ${counters.gets}, grants ${counters.grants}, deaths ${counters.deaths}`);
console.log(`${((performance.now() - began) / 1000).toFixed(1)} s`);
watcher.close();
if (after > before || count !== 0 || sessions !== 0) {
  console.error(
    `soak: ${before} descriptors before, ${after} after, ${count} instances, ${sessions} sessions`,
  );
  process.exitCode = 1;
}
