/**
 * Says what becomes of instances: of which application they are, how they died (by which signal,
 * with which status, and whether memory ran out), and why one that lives has to go.
 */
import { memoryKills } from "../native/memory-kills.ts";
import type { Overrun } from "../pool/types.ts";
import type { Instance } from "../spawn/spawner.ts";
import type { Log, LogFields } from "../logging/log.ts";

const overruns: Readonly<Record<Overrun, string>> = {
  abandoned: "its client gave it up",
  crowded: "its client gave it up, and too many such wait outside the pool",
  overdue: "it took more than its time",
  large: "it uses more memory than it may",
  upgraded: "it has left the pool, and its upgraded connections have had their time",
};

/** Applications remembered as started; of more it is said again. */
const maxStarted = 10_000;

export class InstanceLog {
  readonly #log: Log;
  readonly #memoryKills: () => number | undefined;
  /** As their applications' names are shown. */
  readonly #apps = new WeakMap<Instance, string>();
  /** Applications, likewise, of which it has been said that they were started. */
  readonly #started = new Set<string>();
  /** As they were when it was looked last. */
  #kills: number | undefined;
  #hasLooked = false;

  constructor(log: Log, kills: () => number | undefined = memoryKills) {
    this.#log = log;
    this.#memoryKills = kills;
  }

  /** The first of an application since the server's start, its restart or a failure is news. */
  spawned(instance: Instance, app: string, ms: number): void {
    // What has been before there were instances is no news.
    if (!this.#hasLooked) this.#kills = this.#memoryKills();
    this.#hasLooked = true;
    this.#apps.set(instance, app);
    const { user } = instance;
    if (user !== undefined && !this.#started.has(app)) {
      if (this.#started.size >= maxStarted) this.#started.clear();
      this.#started.add(app);
      this.#log.notice("application started", { ...this.#who(instance), user, ms });
    }
    this.#log.event(1, "instance spawned", { ...this.#who(instance), ms });
  }

  restarts(app: string): void {
    this.#started.delete(app);
    this.#log.event(1, "application restarts", { app });
  }

  /** @param isUseless a restart has taken its use, or its application is no more. */
  spawnFailed(app: string, cause: string, isUseless = false): void {
    if (isUseless) return this.#log.event(1, "spawn given up", { app, cause });
    this.#started.delete(app);
    this.#log.event(0, "spawn failed", { app, cause });
  }

  rolledOut(app: string, outcome: "done" | "refused"): void {
    if (outcome === "done") this.#log.event(1, "application restarted", { app });
    else this.#log.event(0, "restart given up: the old instances serve on", { app });
  }

  /** Nobody asked it to. */
  died(instance: Instance): Promise<void> {
    return this.#sayEnd("instance died", instance);
  }

  /** @param what the request, if that is known. */
  givenUp(instance: Instance, overrun: Overrun, what = "unknown"): void {
    const fields = { ...this.#who(instance), cause: overruns[overrun] };
    if (overrun === "large") return this.#log.event(0, "a process is ended", fields);
    if (overrun === "upgraded") return this.#log.event(1, "a process is ended", fields);
    const request = { ...fields, request: what };
    this.#log.event(0, "a request takes too long, its process is ended", request);
  }

  retired(instance: Instance, reason: string): void {
    this.#log.event(1, "instance retired", { ...this.#who(instance), reason });
    // A dying process loses its socket before it is seen to be dead: that was why.
    if (reason !== "unreachable") return;
    void instance.death.then(() => this.#sayEnd("instance ended", instance));
  }

  async #sayEnd(event: string, instance: Instance): Promise<void> {
    const end = await instance.describeEnd();
    const memory: LogFields = this.#ranOut() ? { memory: "ran out in the control group" } : {};
    this.#log.event(0, event, { ...this.#who(instance), end, ...memory });
  }

  #who(instance: Instance): LogFields {
    return { app: this.#apps.get(instance) ?? "", pid: instance.pid };
  }

  #ranOut(): boolean {
    const before = this.#kills;
    this.#kills = this.#memoryKills();
    return before !== undefined && this.#kills !== undefined && this.#kills > before;
  }
}
