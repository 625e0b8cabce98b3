// Random histories of pools whose applications have rolling restarts, limits on age and requests,
// and instances ahead of need. The invariants are checked after every step, and in the end all gets
// are served and everything is forgotten.

import { expect, test } from "bun:test";

import type { Effect, InstanceId, SessionId, SpawnId } from "../../src/pool/types.ts";
import { Pool } from "../../src/pool/pool.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { requestOf } from "./app-request.ts";
import { checkInvariants } from "./invariants.ts";
import { randomFrom } from "./random.ts";

const ROOTS = ["/a", "/b", "/c"].map((root) => fromText(root));

class UpkeepHistory {
  readonly #random: (below: number) => number;
  readonly #pool: Pool;
  readonly #sessions = new Map<number, SessionId>();
  readonly #spawns = new Set<SpawnId>();
  readonly #instances = new Set<InstanceId>();
  readonly #dead = new Set<InstanceId>();
  readonly lines: string[] = [];
  #now = 0;
  #pid = 0;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
    const max = this.#pick([1, 2, 3, 6]);
    const limits = { max, maxIdleMs: this.#pick([0, 50, 1000]), useGlobalQueue: this.#coin() };
    const options = {
      maxWaitMs: 0,
      maxQueue: 0,
      spawnsAtOnce: this.#pick([1, 2, 4]),
      slowSpawnMs: this.#pick([Infinity, 15]),
      ...(this.#coin() ? { shareAfterMs: 100 } : {}),
      ...(this.#coin() ? { failurePause: { firstMs: 20, maxMs: 100 } } : {}),
    };
    this.#pool = new Pool(options, limits);
    for (const _ of ROOTS) this.#configure();
  }

  step(): void {
    this.#now += this.#pick([0, 0, 1, 5, 30]);
    const choice = this.#random(100);
    if (choice < 25) this.#get();
    else if (choice < 45) this.#close();
    else if (choice < 62) this.#spawned();
    else if (choice < 70) this.#spawnFailed();
    else if (choice < 76) this.#served();
    else if (choice < 80) this.#grown();
    else if (choice < 84) this.#died();
    else if (choice < 89) this.#restart();
    else if (choice < 92) this.#configure();
    else if (choice < 94) this.#clear();
    else this.#tick();
  }

  drain(): void {
    for (const root of ROOTS) this.#note("configure", this.#pool.configure(root, {}, this.#now));
    for (
      let rounds = 0;
      this.#sessions.size + this.#spawns.size + this.#pool.state.waiters.size > 0;
    ) {
      if (rounds++ > 10_000) throw new Error("the gets that wait are not served");
      this.#close();
      this.#spawned();
      this.#now += 50;
      this.#tick();
    }
    this.#now += 200_000;
    this.#tick();
    expect(this.#pool.snapshot(this.#now).applications).toEqual([]);
    expect(this.#pool.nextDeadline()).toBe(undefined);
  }

  #get(): void {
    const root = this.#pick(ROOTS);
    const restart = this.#pool.hasInstances(root, this.#now) && this.#random(10) === 0;
    const kept = this.#coin();
    const request = { root, options: requestOf(""), restart, kept, expectedConcurrency: 1 };
    const { waiter, effects } = this.#pool.get(request, this.#now);
    this.#note(`get ${waiter} ${root}${restart ? " restart" : ""}`, effects);
  }

  #close(): void {
    const waiter = this.#pick([...this.#sessions.keys()]);
    const session = this.#sessions.get(waiter);
    if (session === undefined) return;
    this.#sessions.delete(waiter);
    this.#note(`close ${waiter}`, this.#pool.sessionClosed(session, this.#now));
  }

  #spawned(): void {
    const spawn = this.#pick([...this.#spawns]);
    if (!this.#spawns.delete(spawn)) return;
    const ready = { pid: ++this.#pid, concurrency: this.#pick([1, 1, 2]), reportsDone: false };
    const { instance, effects } = this.#pool.spawned(spawn, ready, this.#now);
    this.#instances.add(instance);
    this.#note(`spawned ${spawn} as ${instance}`, effects);
  }

  #spawnFailed(): void {
    const spawn = this.#pick([...this.#spawns]);
    if (!this.#spawns.delete(spawn)) return;
    const effects = this.#pool.spawnFailed(spawn, { message: "it broke" }, this.#now);
    this.#note(`spawnFailed ${spawn}`, effects);
  }

  #served(): void {
    const session = this.#pick([...this.#sessions.values()]);
    if (session === undefined) return;
    this.#note("served", this.#pool.sessionServed(session, 1 + this.#random(5), this.#now));
  }

  #grown(): void {
    const instance = this.#pick([...this.#instances]);
    if (instance === undefined) return;
    this.#note(
      `grown ${instance}`,
      this.#pool.instanceGrown(instance, this.#random(4) === 0, this.#now),
    );
  }

  #died(): void {
    const instance = this.#pick([...this.#instances].filter((id) => !this.#dead.has(id)));
    if (instance === undefined) return;
    this.#dead.add(instance);
    this.#note(`died ${instance}`, this.#pool.instanceDied(instance, this.#now));
  }

  #restart(): void {
    const root = this.#pick(ROOTS);
    this.#note(`restart ${root}`, this.#pool.restart(root, this.#now));
  }

  #configure(): void {
    const root = this.#pick(ROOTS);
    const settings = {
      isRolling: this.#random(4) > 0,
      minInstances: this.#pick([0, 0, 1, 2]),
      maxInstances: this.#pick([0, 0, 1, 3]),
      maxIdleMs: this.#pick([undefined, 0, 70, Infinity]),
      maxRequests: this.#pick([0, 0, 6]),
      maxAgeMs: this.#pick([0, 0, 300]),
    };
    const effects = this.#pool.configure(
      root,
      settings,
      this.#now,
      this.#coin() ? requestOf("") : undefined,
    );
    this.#note(`configure ${root} ${JSON.stringify(settings)}`, effects);
  }

  #clear(): void {
    const root = this.#pick([...ROOTS, undefined]);
    this.#note(`clear ${root ?? ""}`, this.#pool.clear(this.#now, root));
  }

  #tick(): void {
    this.#note("tick", this.#pool.tick(this.#now));
    expect(this.#pool.nextDeadline() ?? Infinity).toBeGreaterThan(this.#now);
  }

  #note(what: string, effects: readonly Effect[]): void {
    const shown = effects.map((effect) => JSON.stringify(Object.values(effect)));
    this.lines.push(`${this.#now} ${what} -> ${shown.join(" ")}`);
    for (const effect of effects) {
      if (effect.kind === "spawn") this.#spawns.add(effect.spawn);
      if (effect.kind === "grant") this.#sessions.set(effect.waiter, effect.session);
      if (effect.kind === "retire") this.#instances.delete(effect.instance);
    }
    checkInvariants(this.#pool);
  }

  #coin(): boolean {
    return this.#random(2) === 0;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random(Math.max(1, from.length))] as T;
  }
}

test("instances are replaced and kept ahead in random histories, and nothing is left", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const history = new UpkeepHistory(seed);
    try {
      for (let step = 0; step < 150; step++) history.step();
      history.drain();
    } catch (error) {
      const lines = history.lines.join("\n");
      throw new Error(`seed ${seed}:\n${lines}\n${String(error)}`, { cause: error });
    }
  }
});
