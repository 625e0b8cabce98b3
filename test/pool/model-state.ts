// What the naive model of the pool knows, and plain readings of it: arrays, scanned anew for every question.

import type { PoolLimits, PoolOptions, RetireReason } from "../../src/pool/types.ts";

export interface App {
  root: string;
  maxInstances: number;
  saidConcurrency: number | undefined;
  expectedConcurrency: number;
  failuresInRow: number;
  pauses: number;
  pausedUntil: number;
  lastFailure: { message: string; at: number } | undefined;
}

export interface ModelInstance {
  id: number;
  app: App;
  concurrency: number;
  /** Ids of the gets whose sessions it has. */
  sessions: number[];
  standing: "pooled" | "leaving" | "dead";
  reason: RetireReason;
  /** Rises with every use of any instance. */
  used: number;
  usedAt: number;
  served: number;
}

export interface ModelSpawn {
  id: number | undefined;
  app: App;
  options: string;
  /** Ids from here on arrived after it began. */
  beganAt: number;
  /** Ids from here on arrived after a restart or clear. */
  servesBefore: number;
}

export interface ModelGet {
  id: number;
  app: App;
  options: string;
  arrivedAt: number;
  failedConnects: number;
  tried: number[];
}

export class ModelState {
  now = 0;
  limits: PoolLimits;
  readonly options: PoolOptions;
  apps: App[] = [];
  instances: ModelInstance[] = [];
  /** Planned and begun ones, in the order of planning. */
  spawns: ModelSpawn[] = [];
  waiting: ModelGet[] = [];
  /** Those with a session. */
  granted: ModelGet[] = [];
  pendingRestarts: App[] = [];
  effects: string[] = [];
  protected uses = 0;

  constructor(options: PoolOptions, limits: PoolLimits) {
    this.options = options;
    this.limits = limits;
  }

  protected appOf(root: string): App {
    const known = this.apps.find((app) => app.root === root);
    if (known !== undefined) return known;
    const app: App = {
      root,
      maxInstances: 0,
      saidConcurrency: undefined,
      expectedConcurrency: 1,
      failuresInRow: 0,
      pauses: 0,
      pausedUntil: 0,
      lastFailure: undefined,
    };
    this.apps.push(app);
    return app;
  }

  protected isPaused = (app: App) => app.pausedUntil > this.now;
  protected perSpawn = (app: App) => app.saidConcurrency ?? app.expectedConcurrency;
  protected line = (app: App) => byArrival(this.waiting.filter((get) => get.app === app));
  protected begun = () => this.spawns.filter(({ id }) => id !== undefined);
  protected planned = () => this.spawns.filter(({ id }) => id === undefined);
  protected spawnsOf = (app: App) => this.spawns.filter((spawn) => spawn.app === app);
  protected coming = (app: App) =>
    this.spawnsOf(app).filter((spawn) => spawn.servesBefore === Infinity);
  protected allPlaces = () => this.count + this.spawns.length;
  protected places = (app: App) => this.pooled(app).length + this.spawnsOf(app).length;

  protected limit(app: App): number {
    return Math.min(this.limits.maxPerApp || Infinity, app.maxInstances || Infinity);
  }

  protected pooled(app: App): ModelInstance[] {
    return this.instances.filter((it) => it.app === app && it.standing === "pooled");
  }

  /** Longest idle first. */
  protected idle(): ModelInstance[] {
    return this.instances
      .filter(({ standing, sessions }) => standing === "pooled" && sessions.length === 0)
      .toSorted((a, b) => a.used - b.used);
  }

  protected grantedGet(id: number): ModelGet {
    const get = this.granted.find((candidate) => candidate.id === id);
    if (get === undefined) throw new Error(`model: get ${id} has no session`);
    return get;
  }

  protected instanceOf(id: number): ModelInstance {
    const instance = this.instances.find(({ sessions }) => sessions.includes(id));
    if (instance === undefined) throw new Error(`model: get ${id} has no instance`);
    return instance;
  }

  protected endSession(id: number): ModelInstance {
    const instance = this.instanceOf(id);
    this.granted = this.granted.filter((get) => get.id !== id);
    instance.sessions = instance.sessions.filter((session) => session !== id);
    return instance;
  }

  protected takeSpawn(id: number): ModelSpawn {
    const spawn = this.spawns.find((candidate) => candidate.id === id);
    if (spawn === undefined) throw new Error(`model: no spawn ${id}`);
    this.removeSpawn(spawn);
    return spawn;
  }

  protected removeSpawn(spawn: ModelSpawn | undefined): void {
    this.spawns = this.spawns.filter((other) => other !== spawn);
  }

  protected use(instance: ModelInstance): void {
    instance.used = ++this.uses;
    instance.usedAt = this.now;
  }

  protected say(...words: (string | number)[]): void {
    this.effects.push(words.join(" "));
  }
}

export function isFree({ sessions, concurrency }: ModelInstance): boolean {
  return sessions.length < concurrency;
}

/** Fewest sessions first, the one used last among equals. */
export function best(instances: readonly ModelInstance[]): ModelInstance | undefined {
  return instances.toSorted((a, b) => a.sessions.length - b.sessions.length || b.used - a.used)[0];
}

export function byArrival(gets: readonly ModelGet[]): ModelGet[] {
  return gets.toSorted((a, b) => a.id - b.id);
}
