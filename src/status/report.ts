/**
 * The pool's snapshot as the status report of 2.0, to the byte: tools parse it. It shows what 2.0
 * had: the instances in the pool and their sessions. Instances that have left the pool and finish
 * their sessions are not in `count` and not here; nor are applications without instances. Roots are
 * bytes and stay so, but for their control characters.
 */

import type { ApplicationSnapshot, PoolSnapshot } from "../pool/types.ts";
import { ascii, escapeControls, toBytes, type ByteString } from "../wire/bytes.ts";

/** The bytes that a reader of the status FIFO gets. */
export function statusReport(snapshot: PoolSnapshot): Uint8Array {
  const { limits, count, active, waitingOnGlobalQueue } = snapshot;
  const head = [
    "----------- General information -----------",
    `max      = ${limits.max}`,
    `count    = ${count}`,
    `active   = ${active}`,
    `inactive = ${count - active}`,
    `Using global queue: ${limits.useGlobalQueue ? "yes" : "no"}`,
    `Waiting on global queue: ${waitingOnGlobalQueue}`,
    "",
    "----------- Applications -----------",
    "",
  ].join("\n");
  return toBytes(ascii(head + snapshot.applications.map(applicationLines).join("")));
}

/** The root (with the space after the colon that 2.0 has), its instances, a blank line. */
function applicationLines(application: ApplicationSnapshot): ByteString {
  const instances = application.instances.filter(
    ({ state }) => state !== "leaving" && state !== "dead",
  );
  if (instances.length === 0) return ascii("");
  const lines = instances.map(
    ({ pid, sessions, closing }) =>
      `  PID: ${String(pid).padEnd(8)}  Sessions: ${sessions + closing}\n`,
  );
  return ascii(`${escapeControls(application.root)}: \n${lines.join("")}\n`);
}
