/**
 * The default command, the contract of 2.0: six positional arguments and a socket on descriptor 3,
 * then our options. A parent waits for its first connection: it has that before most of the server
 * is even loaded (run-server.ts).
 */

import { nextTurn } from "../native/event-loop.ts";
import { setCloseOnExec } from "../native/fd.ts";
import { OwnedFd } from "../native/owned-fd.ts";
import { whyNotStream } from "../native/socket.ts";
import { WakeLoop } from "../server/wake.ts";
import type { ByteString } from "../wire/bytes.ts";
import { readConfig } from "./config.ts";
import { StartError } from "./usage-error.ts";

/** The wake socket's number is part of the contract. */
const wakeDescriptor = 3;

/** Runs the server until it ends. @throws UsageError, StartError before anything is started. */
export async function runDaemon(args: readonly ByteString[]): Promise<void> {
  const config = readConfig(args);
  const wake = new WakeLoop(takeSocket(wakeDescriptor));
  const { supervisorChannel } = config;
  const supervisor = supervisorChannel === 0 ? undefined : takeSocket(supervisorChannel);
  // Under a supervisor nobody is served before that has said who may be.
  if (supervisor === undefined) {
    await wake.start();
    await nextTurn();
  }
  const { runServer } = await import("./run-server.ts");
  await runServer(config, wake, supervisor);
}

/** Takes one end of a pair that the parent holds the other end of. @throws StartError. */
function takeSocket(descriptor: number): OwnedFd {
  // Sockets that systemd passes start at 3 too (sd_listen_fds(3)).
  const isPassed = process.env["LISTEN_PID"] === String(process.pid);
  const why = isPassed ? "it belongs to systemd's socket activation" : whyNotStream(descriptor);
  if (why !== undefined) {
    throw new StartError(
      `descriptor ${descriptor} must be one end of a Unix stream socket pair, but ${why}; ` +
        "this program is started by a parent such as a web server",
    );
  }
  setCloseOnExec(descriptor, true);
  return new OwnedFd(descriptor);
}
