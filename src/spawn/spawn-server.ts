/** Being written: the constructor and its options stand; see spawner.ts for the rest. */
import type { DescriptorLimit, User } from "../native/process.ts";
import type { ByteString } from "../wire/bytes.ts";
import type { Instance, Notify, SpawnRequest, Spawner } from "./spawner.ts";

/** How the spawn server is run: `ruby script "<61 spaces>"`. */
export interface SpawnServerCommand {
  /** Looked up on PATH, after becoming the user. */
  readonly ruby: ByteString;
  readonly script: ByteString;
  /** Opened for append at every start; absent: the server's own stderr. */
  readonly logFile?: ByteString;
  /** Only when the server runs as root. */
  readonly user?: User;
}

export interface SpawnServerOptions {
  readonly command: SpawnServerCommand;
  readonly notify: Notify;
  /** RLIMIT_NOFILE as it was before the server raised it; absent: left as it is. */
  readonly originalDescriptorLimit?: DescriptorLimit;
  /** How to run our own binary for the hidden launch command; default launcherCommand(). */
  readonly launcher?: readonly string[];
}

export class SpawnServer implements Spawner {
  readonly pid = 0;
  readonly spawnsAtOnce = 1;
  readonly pausesAfterFailures = false;
  constructor(_options: SpawnServerOptions) {}
  expectedConcurrency(_request: SpawnRequest): number {
    return 1;
  }
  start(): void {}
  spawn(_request: SpawnRequest): Promise<Instance> {
    throw new Error("being written");
  }
  reload(_root: ByteString): void {}
  async close(_hurry: AbortSignal): Promise<void> {}
}
