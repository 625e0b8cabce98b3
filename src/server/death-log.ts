/** Says how instances died: by which signal, with which status, and whether memory ran out. */
import { memoryKills } from "../native/memory-kills.ts";
import type { Instance } from "../spawn/spawner.ts";
import type { Log, LogFields } from "./log.ts";

export class DeathLog {
  readonly #log: Log;
  readonly #memoryKills: () => number | undefined;
  /** As they were when it was looked last. */
  #kills: number | undefined;
  #hasLooked = false;

  constructor(log: Log, kills: () => number | undefined = memoryKills) {
    this.#log = log;
    this.#memoryKills = kills;
  }

  /** There are instances: what has been before is no news. */
  begin(): void {
    if (!this.#hasLooked) this.#kills = this.#memoryKills();
    this.#hasLooked = true;
  }

  async died(instance: Instance, app: string): Promise<void> {
    const { pid } = instance;
    const end = await instance.describeEnd();
    const memory: LogFields = this.#ranOut() ? { memory: "ran out in the control group" } : {};
    this.#log.event(1, "instance died", { app, pid, end, ...memory });
  }

  #ranOut(): boolean {
    const before = this.#kills;
    this.#kills = this.#memoryKills();
    return before !== undefined && this.#kills !== undefined && this.#kills > before;
  }
}
