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
  #isReleased = false;

  /** @param retiredMs how long it may take to leave after its release. */
  constructor(process: InstanceProcess, user: string | undefined, ready: Ready, retiredMs: number) {
    this.user = user;
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

  describeEnd(): Promise<string> {
    return this.#process.describeEnd();
  }

  connect(): OwnedFd | "full" {
    if (this.#isReleased) throw new Error(`instance ${this.pid}: connect after release`);
    return this.#process.connect();
  }

  giveUp(): void {
    this.#isReleased = true;
    void this.#process.giveUp();
  }

  release(): void {
    this.#isReleased = true;
    void this.#process.end(this.#retiredMs);
  }
}
