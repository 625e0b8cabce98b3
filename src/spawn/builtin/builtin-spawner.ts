/** Being written: the constructor and its options stand; see spawner.ts for the rest. */
import type { DescriptorLimit } from "../../native/process.ts";
import type { ByteString } from "../../wire/bytes.ts";
import type { Instance, Notify, SpawnRequest, Spawner } from "../spawner.ts";

/** One line (or 8 KiB piece of one) that an instance wrote to stdout or stderr, without its line end. */
export type WriteOutput = (pid: number, root: ByteString, line: ByteString) => void;

export interface BuiltinSpawnerOptions {
  readonly notify: Notify;
  /** Must not block; called on the event loop. */
  readonly writeOutput: WriteOutput;
  /** RLIMIT_NOFILE as it was before the server raised it; absent: left as it is. */
  readonly originalDescriptorLimit?: DescriptorLimit;
  /** How to run our own binary for the hidden launch command; default launcherCommand(). */
  readonly launcher?: readonly string[];
}

export class BuiltinSpawner implements Spawner {
  readonly pid = process.pid;
  readonly spawnsAtOnce = 1;
  readonly pausesAfterFailures = true;
  constructor(_options: BuiltinSpawnerOptions) {}
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
