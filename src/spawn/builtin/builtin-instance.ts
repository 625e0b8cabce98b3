/** A ready instance of the built-in spawner, as the driver sees it. */
import type { OwnedFd } from "../../native/owned-fd.ts";
import type { Instance, SessionReports } from "../spawner.ts";
import type { InstanceProcess } from "./instance-process.ts";
import type { Ready } from "./lifeline.ts";

export class BuiltinInstance implements Instance {
  readonly #process: InstanceProcess;
  readonly #retiredMs: number;
  readonly user: string | undefined;
  readonly concurrency: number;
  readonly speaksHttp: boolean;
  readonly reports: SessionReports | undefined;
  readonly #released = Promise.withResolvers<void>();
  readonly #hasThreads: boolean;
  #isReleased = false;

  /** @param retiredMs how long it may take to leave after its release. */
  constructor(
    process: InstanceProcess,
    { user, ready, hasThreads }: { user: string | undefined; ready: Ready; hasThreads: boolean },
    retiredMs: number,
  ) {
    this.user = user;
    this.#hasThreads = hasThreads && ready.concurrency > 1;
    this.#process = process;
    this.#retiredMs = retiredMs;
    this.speaksHttp = process.isProgram;
    this.concurrency = ready.concurrency;
    this.reports = ready.reportsDone ? process : undefined;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get death(): Promise<void> {
    return this.#process.gone;
  }

  get isOutOfMemory(): boolean {
    return this.#process.isOutOfMemory;
  }

  describeEnd(): Promise<string> {
    return this.#process.describeEnd();
  }

  connect(): OwnedFd | "full" {
    if (this.#isReleased) throw new Error(`instance ${this.pid}: connect after release`);
    return this.#process.connect();
  }

  giveUp(): void {
    this.#isReleased = true;
    // A stuck event loop serves nobody else; a stuck thread is one of several.
    void this.#process.giveUp(this.#hasThreads ? this.#released.promise : undefined);
  }

  showStack(): void {
    this.#process.showStack();
  }

  release(): void {
    this.#isReleased = true;
    this.#released.resolve();
    void this.#process.end(this.#retiredMs);
  }
}
