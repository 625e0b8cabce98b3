// One random history, by its seed: the same events for the pool and for the naive model, compared
// after every step.

import { expect } from "bun:test";
import { Pool } from "../../src/pool/pool.ts";
import type {
  Effect,
  InstanceId,
  PoolLimits,
  PoolOptions,
  PoolSnapshot,
  SessionId,
  SpawnId,
  WaiterId,
} from "../../src/pool/types.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import { requestOf } from "./app-request.ts";
import { Model } from "./model.ts";
import { checkInvariants } from "./invariants.ts";
import { randomFrom } from "./random.ts";

const ROOTS = ["/srv/a", "/srv/b", "/srv/c", "/srv/d"] as ByteString[];

export class History {
  readonly #random: (below: number) => number;
  readonly #pool: Pool;
  readonly #model: Model;
  readonly #applications: number;
  readonly #keptPercent: number;
  /** The session each get has, by the get's id. */
  readonly #sessions = new Map<number, SessionId>();
  /** Those of them that their instance knows of. */
  readonly #connected = new Set<number>();
  /** How many of the instances say when they are done. */
  readonly #reportPercent: number;
  /** Requests hang, their clients leave: much is abandoned, and outside the pool. */
  readonly #hangs: boolean;
  readonly #shared = new Map<ByteString, number>();
  /** What happened, for the report of a failure. */
  readonly lines: string[] = [];
  #pid = 0;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
    this.#hangs = this.#random(6) === 0;
    const options: PoolOptions = {
      maxWaitMs: this.#pick([0, 0, 60]),
      maxQueue: this.#pick([0, 0, 3]),
      abandonMs: this.#hangs ? 9_000 : this.#pick([0, 40, 300]),
      ...(this.#random(2) === 0 && !this.#hangs ? {} : { shareAfterMs: this.#pick([20, 100]) }),
      requestMs: this.#pick([0, 0, 0, 100]),
      spawnsAtOnce: this.#pick([1, 2, 4, 5]),
      slowSpawnMs: this.#pick([Infinity, 15, 200]),
      failurePause: this.#pick([
        undefined,
        { firstMs: 20, maxMs: 100 },
        { firstMs: 40, maxMs: 40_000 },
      ]),
    };
    const limits: PoolLimits = {
      max: this.#hangs ? 2 : this.#pick([1, 2, 3, 5]),
      maxPerApp: this.#pick([0, 0, 1, 2]),
      maxIdleMs: this.#pick([0, 50, 200, 120_000]),
      useGlobalQueue: this.#pick([false, true]),
    };
    this.#applications = this.#hangs ? 4 : this.#pick([1, 2, 3, 4]);
    this.#keptPercent = this.#pick([0, 50, 90]);
    this.#reportPercent = this.#hangs ? 100 : this.#pick([0, 50, 100]);
    this.#pool = new Pool(options, limits);
    this.#model = new Model(options, limits);
    this.lines.push(`options ${JSON.stringify(options)}`, `limits ${JSON.stringify(limits)}`);
  }

  /** One random event, and the comparison. */
  step(): void {
    this.#model.now += this.#pick([0, 0, 1, 3, 10, 30]);
    if (this.#hangs) this.#model.now += this.#random(60);
    if (this.#random(60) === 0) this.#model.now += this.#pick([100, 1000, 70_000, 130_000]);
    const choice = this.#random(100);
    const session = this.#pick([...this.#sessions.keys()]);
    const spawn = this.#pick(
      this.#model.spawns.flatMap(({ id }) => (id === undefined ? [] : [id])),
    );
    if (choice < 30) this.#get();
    else if (choice < 42) this.#close(session);
    else if (choice < 49 && (!this.#hangs || choice < 43)) this.#done();
    else if (choice < 50) this.#long(session);
    else if (choice < 54) this.#answerRecall();
    else if (choice < 68) this.#spawned(spawn);
    else if (choice < 74) this.#spawnFailed(spawn);
    else if (choice < 78) this.#connectFailed(session);
    else if (choice < 81) this.#alternative(session);
    else if (choice < 84) this.#instanceDied();
    else if (choice < 88) this.#cancel();
    else if (choice < 94) this.#tick();
    else if (choice < 97) this.#setLimits();
    else if (choice < 99) this.#configure();
    else this.#clear();
  }

  /** Ends whatever is open; afterwards the pool must have forgotten everything. */
  drain(): void {
    this.#model.now += 1;
    for (const root of ROOTS) {
      this.#compare(`configure ${root}`, this.#pool.configure(root, {}, this.#model.now), () => {
        this.#model.configure(root, {});
      });
    }
    const isOver = () =>
      this.#sessions.size +
        this.#model.spawns.length +
        this.#undone() +
        this.#pool.state.waiters.size ===
      0;
    for (let rounds = 0; !isOver(); rounds++) {
      if (rounds > 10_000) throw new Error("the gets that wait are not served");
      this.#close(this.#pick([...this.#sessions.keys()]));
      this.#done();
      this.#spawned(this.#pick(this.#model.spawns.flatMap(({ id }) => id ?? [])));
      // Where the pool is shared, what was used a moment ago is not let go.
      this.#model.now += 10;
      this.#tick();
    }
    this.#model.now += 200_000;
    this.#compare("tick", this.#pool.tick(this.#model.now), () => this.#model.tick());
    expect(this.#pool.snapshot(this.#model.now).applications).toEqual([]);
    expect(this.#pool.nextDeadline()).toBe(undefined);
  }

  #get(): void {
    const root = this.#root();
    const { now } = this.#model;
    const canRestart = this.#pool.hasInstances(root, now);
    expect(canRestart).toBe(this.#model.hasInstances(root));
    const restart = canRestart && this.#random(12) === 0;
    const options = requestOf(`for ${this.lines.length}`);
    const kept = this.#random(100) < this.#keptPercent;
    const expectedConcurrency = this.#pick([1, 1, 2, 5]);
    const instances = this.#shared.get(root) ?? this.#pick([0, 0, 0, 1, 2, 3]);
    this.#shared.set(root, instances);
    const request = { root, options, restart, kept, expectedConcurrency, instances };
    const { waiter, effects } = this.#pool.get(request, now);
    const what = `get ${waiter} ${root} expects ${expectedConcurrency} of ${instances}`;
    const how = `${kept ? " kept" : ""}${restart ? " restart" : ""}`;
    this.#compare(`${what}${how}`, effects, () => {
      expect(this.#model.get(request)).toBe(waiter);
    });
  }

  #cancel(): void {
    const waiter = this.#pick(this.#model.waiting)?.id;
    if (waiter === undefined) return;
    const effects = this.#pool.cancel(waiter as WaiterId, this.#model.now);
    this.#compare(`cancel ${waiter}`, effects, () => this.#model.cancel(waiter));
  }

  #close(waiter: number | undefined): void {
    const isUnused = waiter !== undefined && !this.#connected.has(waiter) && this.#random(8) === 0;
    const session = this.#take(waiter);
    if (waiter === undefined || session === undefined) return;
    if (isUnused) {
      const given = this.#pool.sessionUnused(session, this.#model.now);
      this.#compare(`sessionUnused ${waiter}`, given, () => this.#model.sessionUnused(waiter));
      return;
    }
    if (this.#hangs || this.#random(4) === 0) return this.#abandon(waiter, session);
    const effects = this.#pool.sessionClosed(session, this.#model.now);
    this.#compare(`sessionClosed ${waiter}`, effects, () => this.#model.sessionClosed(waiter));
  }

  #abandon(waiter: number, session: SessionId): void {
    const isLate = !this.#hangs && this.#random(3) === 0;
    const what = `request ${waiter}`;
    const effects = this.#pool.sessionAbandoned(session, what, isLate, this.#model.now);
    this.#compare(`sessionAbandoned ${waiter}${isLate ? " late" : ""}`, effects, () => {
      this.#model.sessionAbandoned(waiter, what, isLate);
    });
  }

  /** An instance has ended some of the sessions it knows of. */
  #done(): void {
    const instance = this.#pick(this.#model.instances.filter(({ undone }) => undone > 0));
    if (instance === undefined) return;
    if (this.#random(2) === 0) for (const id of instance.sessions) this.#connected.add(id);
    const { id, undone, sessions } = instance;
    const known = undone - sessions.filter((session) => !this.#connected.has(session)).length;
    if (known === 0) return;
    const number = 1 + this.#random(known);
    const effects = this.#pool.sessionsDone(id as InstanceId, number, this.#model.now);
    this.#compare(`sessionsDone ${id} ${number}`, effects, () => {
      this.#model.sessionsDone(id, number);
    });
  }

  #undone(): number {
    return this.#model.instances.reduce((sum, { undone }) => sum + undone, 0);
  }

  #long(waiter: number | undefined): void {
    const session = waiter === undefined ? undefined : this.#sessions.get(waiter);
    if (waiter === undefined || session === undefined) return;
    this.#connected.add(waiter);
    const effects = this.#pool.sessionLong(session, this.#model.now);
    this.#compare(`sessionLong ${waiter}`, effects, () => this.#model.sessionLong(waiter));
  }

  /** What clients do with a session they were asked for; sometimes with another one. */
  #answerRecall(): void {
    const asked = this.#model.granted.filter(({ recall }) => recall === "due");
    const waiter = this.#pick(asked)?.id ?? this.#pick([...this.#sessions.keys()]);
    if (this.#random(2) === 0) this.#close(waiter);
    else this.#keep(waiter);
  }

  #keep(waiter: number | undefined): void {
    const session = waiter === undefined ? undefined : this.#sessions.get(waiter);
    if (waiter === undefined || session === undefined) return;
    this.#connected.add(waiter);
    const effects = this.#pool.sessionKept(session, this.#model.now);
    this.#compare(`sessionKept ${waiter}`, effects, () => this.#model.sessionKept(waiter));
  }

  #connectFailed(waiter: number | undefined): void {
    if (waiter !== undefined && this.#connected.has(waiter)) return;
    const session = this.#take(waiter);
    if (waiter === undefined || session === undefined) return;
    const effects = this.#pool.connectFailed(session, "ECONNREFUSED", this.#model.now);
    this.#compare(`connectFailed ${waiter}`, effects, () =>
      this.#model.connectFailed(waiter, "ECONNREFUSED"),
    );
  }

  #alternative(waiter: number | undefined): void {
    if (waiter !== undefined && this.#connected.has(waiter)) return;
    const session = waiter === undefined ? undefined : this.#sessions.get(waiter);
    if (waiter === undefined || session === undefined) return;
    const { instance, effects } = this.#pool.alternative(session, this.#model.now);
    this.#compare(`alternative ${waiter}`, effects, () => {
      expect(this.#model.alternative(waiter)).toBe(instance);
    });
  }

  #spawned(spawn: number | undefined): void {
    if (spawn === undefined) return;
    const concurrency = this.#pick([1, 1, 1, 2, 4]);
    const reportsDone = this.#random(100) < this.#reportPercent;
    const ready = { pid: ++this.#pid, concurrency, reportsDone };
    const { instance, effects } = this.#pool.spawned(spawn as SpawnId, ready, this.#model.now);
    const what = `serves ${concurrency}${reportsDone ? " and reports" : ""}`;
    this.#compare(`spawned ${spawn} as ${instance} ${what}`, effects, () => {
      this.#model.spawned(spawn, concurrency, reportsDone);
    });
  }

  #spawnFailed(spawn: number | undefined): void {
    if (spawn === undefined) return;
    const message = `failure ${this.lines.length}`;
    const effects = this.#pool.spawnFailed(spawn as SpawnId, { message }, this.#model.now);
    this.#compare(`spawnFailed ${spawn}`, effects, () => this.#model.spawnFailed(spawn, message));
  }

  #instanceDied(): void {
    const alive = this.#model.instances.filter(({ standing }) => standing !== "dead");
    const id = this.#pick(alive)?.id;
    if (id === undefined) return;
    const effects = this.#pool.instanceDied(id as InstanceId, this.#model.now);
    this.#compare(`instanceDied ${id}`, effects, () => this.#model.instanceDied(id));
  }

  #tick(): void {
    const { now } = this.#model;
    this.#compare("tick", this.#pool.tick(now), () => this.#model.tick());
    // A driver that keeps to the deadlines must not be called without end.
    expect(this.#pool.nextDeadline() ?? Infinity).toBeGreaterThan(now);
  }

  #setLimits(): void {
    const change = this.#pick<Partial<PoolLimits>>([
      { max: 1 + this.#random(5) },
      { maxPerApp: this.#random(4) },
      { useGlobalQueue: this.#random(2) === 0 },
      { maxIdleMs: this.#pick([0, 50, 200, 120_000]) },
      { max: 1 + this.#random(5), maxPerApp: this.#random(4) },
    ]);
    const effects = this.#pool.setLimits(change, this.#model.now);
    this.#compare(`setLimits ${JSON.stringify(change)}`, effects, () => {
      this.#model.setLimits(change);
    });
  }

  #configure(): void {
    const root = this.#root();
    const settings = {
      maxInstances: this.#random(4),
      maxQueue: this.#pick([undefined, 0, 2]),
      weight: this.#pick([undefined, 1, 2, 5]),
      abandonMs: this.#pick([undefined, undefined, 0, 60]),
      requestMs: this.#pick([undefined, undefined, 0, 50]),
    };
    const effects = this.#pool.configure(root, settings, this.#model.now);
    this.#compare(`configure ${root} ${JSON.stringify(settings)}`, effects, () => {
      this.#model.configure(root, settings);
    });
  }

  #clear(): void {
    this.#compare("clear", this.#pool.clear(this.#model.now), () => this.#model.clear());
  }

  /** Lets the model do what the pool has done, and compares what came of it. */
  #compare(what: string, effects: readonly Effect[], doIt: () => void): void {
    const shown = effects.map((effect) => this.#show(effect));
    this.lines.push(`${this.#model.now} ${what} -> ${shown.join(", ")}`);
    this.#model.effects = [];
    doIt();
    expect(shown.toSorted()).toEqual(this.#model.effects.toSorted());
    checkInvariants(this.#pool);
    const snapshot = this.#pool.snapshot(this.#model.now);
    expect(summarize(snapshot)).toEqual(this.#model.look());
    expect([this.#pool.count, this.#pool.active]).toEqual([snapshot.count, snapshot.active]);
    expect(this.#pool.nextDeadline() ?? Infinity).toBeLessThanOrEqual(this.#model.firstDeadline());
  }

  #show(effect: Effect): string {
    switch (effect.kind) {
      case "grant":
        this.#sessions.set(effect.waiter, effect.session);
        return `grant ${effect.waiter} ${effect.instance}`;
      case "refuse": {
        const { refusal } = effect;
        const why = refusal.kind === "spawnFailed" ? ` ${refusal.failure.message}` : "";
        return `refuse ${effect.waiter} ${refusal.kind}${why}`;
      }
      case "spawn":
        return `spawn ${effect.spawn} ${effect.root} ${effect.options.environment}`;
      case "endSpawn":
        return `endSpawn ${effect.spawn}`;
      case "recall":
        return `recall ${this.#getOf(effect.session)}`;
      case "giveUp":
        return `giveUp ${effect.instance} ${effect.what ?? "unknown"}`;
      case "retire":
        return `retire ${effect.instance} ${effect.reason}`;
      case "reload":
        return `reload ${effect.root}`;
      case "rolledOut":
        return `rolledOut ${effect.root} ${effect.outcome}`;
    }
  }

  #getOf(wanted: SessionId): number {
    for (const [waiter, session] of this.#sessions) if (session === wanted) return waiter;
    throw new Error(`session ${wanted} is not open`);
  }

  #take(waiter: number | undefined): SessionId | undefined {
    if (waiter === undefined) return undefined;
    const session = this.#sessions.get(waiter);
    this.#sessions.delete(waiter);
    this.#connected.delete(waiter);
    return session;
  }

  #root(): ByteString {
    const root = ROOTS[this.#random(this.#applications)];
    if (root === undefined) throw new Error("there are not so many roots");
    return root;
  }

  #pick<T>(from: readonly [T, ...T[]]): T;
  #pick<T>(from: readonly T[]): T | undefined;
  #pick<T>(from: readonly T[]): T | undefined {
    return from.length === 0 ? undefined : from[this.#random(from.length)];
  }
}

/** The part of a snapshot that the model knows as well. */
function summarize(snapshot: PoolSnapshot) {
  const { limits, count, active, leaving, spawning, waiting, sessions } = snapshot;
  const applications = snapshot.applications.map((application) => {
    const { instances, spawns, lastSpawnError, waiting: _, counters: __, ...rest } = application;
    return {
      ...rest,
      instances: instances.map((instance) => ({
        state: instance.state,
        sessions: instance.sessions,
        closing: instance.closing,
        keptSessions: instance.keptSessions,
        longSessions: instance.longSessions,
        served: instance.served,
      })),
      planned: spawns.filter(({ state }) => state === "planned").length,
      outdated: spawns.filter(({ outdated }) => outdated).length,
      spawns: spawns.length,
      lastSpawnError: lastSpawnError ?? undefined,
    };
  });
  return { limits, count, active, leaving, spawning, waiting, sessions, applications };
}
