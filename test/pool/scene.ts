// A pool to play through by hand: gets are named by their number in order of arrival (g0, g1 …),
// instances and spawns likewise (i0, s0 …), and what each event led to is a list of short
// sentences. The invariants are checked every time.

import { expect } from "bun:test";
import { Pool } from "../../src/pool/pool.ts";
import type {
  ApplicationSettings,
  Effect,
  InstanceId,
  PoolLimits,
  PoolOptions,
  PoolSnapshot,
  GetRefusal,
  SessionId,
  SpawnId,
  WaiterId,
} from "../../src/pool/types.ts";
import { type ByteString, fromText } from "../../src/wire/bytes.ts";
import { requestOf } from "./app-request.ts";
import { checkInvariants } from "./invariants.ts";

const QUIET: PoolOptions = { maxWaitMs: 0, maxQueue: 0, spawnsAtOnce: 100, slowSpawnMs: Infinity };

interface GetOptions {
  readonly restart?: boolean;
  readonly kept?: boolean;
  readonly expects?: number;
  readonly options?: string;
  readonly instances?: number;
  /** The instance that it would go on with; `none` yet. */
  readonly prefers?: number | "none";
}

export class Scene {
  readonly pool: Pool;
  now = 0;
  /** What the last event led to. */
  effects: string[] = [];
  /** The session each get has. */
  readonly #sessions = new Map<number, SessionId>();
  #gets = 0;
  #pid = 100;

  constructor(limits: Partial<PoolLimits> = {}, options: Partial<PoolOptions> = {}) {
    this.pool = new Pool({ ...QUIET, ...options }, limits);
  }

  get(app: string, asked: GetOptions = {}): string[] {
    const { restart = false, kept = false, expects = 1, options = "", instances = 0 } = asked;
    const root = fromText(app);
    const { prefers } = asked;
    const instance = prefers === "none" ? undefined : (prefers as InstanceId);
    const preference = prefers === undefined ? undefined : { instance };
    const how = { restart, kept, expectedConcurrency: expects, instances, preference };
    const request = { root, options: requestOf(options), ...how };
    const { waiter, effects } = this.pool.get(request, this.now);
    expect(waiter).toBe(this.#gets++ as WaiterId);
    return this.#note(effects);
  }

  /** So many idle instances of an application; the one with the highest number was used last. */
  warm(app: string, instances: number, concurrency = 1): void {
    const first = this.#gets;
    for (let n = 0; n < instances * concurrency; n++) {
      const spawn = /spawn s(\d+)/.exec(this.get(app).join())?.[1];
      if (spawn !== undefined) this.spawned(Number(spawn), concurrency);
    }
    for (let get = first; get < this.#gets; get++) this.close(get);
  }

  cancel(get: number): string[] {
    return this.#note(this.pool.cancel(get as WaiterId, this.now));
  }

  spawned(spawn: number, concurrency = 1, reportsDone = false): string[] {
    const ready = { pid: this.#pid++, concurrency, reportsDone };
    return this.#note(this.pool.spawned(spawn as SpawnId, ready, this.now).effects);
  }

  spawnFailed(spawn: number, message = "it broke"): string[] {
    return this.#note(this.pool.spawnFailed(spawn as SpawnId, { message }, this.now));
  }

  close(get: number): string[] {
    return this.#note(this.pool.sessionClosed(this.session(get), this.now));
  }

  /** An instance that reports is done with so many sessions. */
  done(instance: number, sessions = 1): string[] {
    return this.#note(this.pool.sessionsDone(instance as InstanceId, sessions, this.now));
  }

  long(get: number): string[] {
    return this.#note(this.pool.sessionLong(this.session(get), this.now));
  }

  abandon(get: number, what = "GET /", isLate = false): string[] {
    return this.#note(this.pool.sessionAbandoned(this.session(get), what, isLate, this.now));
  }

  /** The session was never connected. */
  unused(get: number): string[] {
    return this.#note(this.pool.sessionUnused(this.session(get), this.now));
  }

  /** The client answers `keep`. */
  keep(get: number): string[] {
    return this.#note(this.pool.sessionKept(this.session(get), this.now));
  }

  connectFailed(get: number, cause = "ECONNREFUSED"): string[] {
    return this.#note(this.pool.connectFailed(this.session(get), cause, this.now));
  }

  /** The instance the session of the get was moved to. */
  alternative(get: number): number | undefined {
    const { instance, effects } = this.pool.alternative(this.session(get), this.now);
    this.#note(effects);
    return instance;
  }

  died(instance: number): string[] {
    return this.#note(this.pool.instanceDied(instance as InstanceId, this.now));
  }

  setLimits(change: Partial<PoolLimits>): string[] {
    return this.#note(this.pool.setLimits(change, this.now));
  }

  configure(app: string, settings: ApplicationSettings | number = {}, options?: string): string[] {
    const given = typeof settings === "number" ? { maxInstances: settings } : settings;
    return this.#note(
      this.pool.configure(
        fromText(app),
        given,
        this.now,
        options === undefined ? undefined : requestOf(options),
      ),
    );
  }

  restart(app: string): string[] {
    return this.#note(this.pool.restart(fromText(app), this.now));
  }

  /** The client of the session has sent so many more requests. */
  served(get: number, requests: number): string[] {
    return this.#note(this.pool.sessionServed(this.session(get), requests, this.now));
  }

  grown(instance: number): string[] {
    return this.#note(this.pool.instanceGrown(instance as InstanceId, false, this.now));
  }

  clear(): string[] {
    return this.#note(this.pool.clear(this.now));
  }

  tick(): string[] {
    return this.#note(this.pool.tick(this.now));
  }

  snapshot(): PoolSnapshot {
    return this.pool.snapshot(this.now);
  }

  hasInstances(app: string): boolean {
    return this.pool.hasInstances(fromText(app), this.now);
  }

  /** The roots of all applications the pool remembers. */
  roots(): ByteString[] {
    return this.snapshot().applications.map(({ root }) => root);
  }

  /** [count, active, waiting, being spawned, leaving] */
  sums(): number[] {
    const { count, active, waiting, spawning, leaving } = this.snapshot();
    return [count, active, waiting, spawning, leaving];
  }

  session(get: number): SessionId {
    const session = this.#sessions.get(get);
    if (session === undefined) throw new Error(`g${get} has never had a session`);
    return session;
  }

  #getOf(wanted: SessionId): number {
    for (const [get, session] of this.#sessions) if (session === wanted) return get;
    throw new Error(`there has never been a session ${wanted}`);
  }

  #note(effects: readonly Effect[]): string[] {
    this.effects = effects.map((effect) => this.#describe(effect));
    checkInvariants(this.pool);
    return this.effects;
  }

  #describe(effect: Effect): string {
    switch (effect.kind) {
      case "spawn": {
        const { environment } = effect.options;
        return `spawn s${effect.spawn} ${effect.root} ${environment}`.trimEnd();
      }
      case "grant":
        this.#sessions.set(effect.waiter, effect.session);
        return `grant g${effect.waiter} i${effect.instance}`;
      case "refuse":
        return `refuse g${effect.waiter} ${why(effect.refusal)}`;
      case "endSpawn":
        return `end s${effect.spawn}`;
      case "recall":
        return `recall g${this.#getOf(effect.session)}`;
      case "giveUp":
        return `give i${effect.instance} up: ${effect.what ?? "unknown"}`;
      case "retire":
        return `retire i${effect.instance} ${effect.reason}`;
      case "reload":
        return `reload ${effect.root}`;
      case "rolledOut":
        return `rolled out ${effect.root} ${effect.outcome}`;
    }
  }
}

function why(refusal: GetRefusal): string {
  switch (refusal.kind) {
    case "busy":
      return `busy: ${refusal.why}`;
    case "spawnFailed":
      return `spawnFailed: ${refusal.failure.message}`;
    case "cannotConnect":
      return `cannotConnect: ${refusal.cause}`;
  }
}
