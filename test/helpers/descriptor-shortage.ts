/** A running server without a free descriptor: its limit is lowered to what it has, by prlimit. */
import { openDescriptors } from "./descriptors.ts";
import type { ServerUnderTest } from "./pool-server.ts";

const most = 4096;

/** The server has to be started by this command, so that there is room to lower. */
export const roomyWrapper = ["prlimit", `--nofile=${most}:${most}`];

/** Numbers below the server's highest descriptor that are free. */
function gaps(server: ServerUnderTest): number {
  const open = [...openDescriptors(server.pid).keys()];
  return Math.max(...open) + 1 - open.length;
}

function limit(server: ServerUnderTest, soft: number): void {
  const run = Bun.spawnSync(["prlimit", `--pid=${server.pid}`, `--nofile=${soft}:${most}`]);
  if (!run.success) throw new Error(run.stderr.toString());
}

/**
 * Leaves the running server not one free descriptor: the limit is on numbers, so gaps are filled
 * first, with clients.
 */
export async function exhaust(server: ServerUnderTest): Promise<void> {
  for (let left = gaps(server); left > 0; left = gaps(server)) {
    for (let i = 0; i < left; i += 1) await (await server.connect()).number("getCount");
  }
  limit(server, Math.max(...openDescriptors(server.pid).keys()) + 1);
}

export function relieve(server: ServerUnderTest): void {
  limit(server, most);
}
