// What the naive model of the pool knows, and plain readings of it: arrays, always scanned anew.

import type {
  ApplicationSettings,
  PoolLimits,
  PoolOptions,
  RetireReason,
} from "../../src/pool/types.ts";
import type { AppRequest } from "../../src/wire/app-request.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import type { InspectedInstance } from "../../src/wire/inspection.ts";

export interface App {
  root: ByteString;
  maxInstances: number;
  settings: ApplicationSettings;
  saidConcurrency: number | undefined;
  expectedConcurrency: number;
  instances: number;
  askedAt: number;
  failuresInRow: number;
  pauses: number;
  pausedUntil: number;
  lastFailure: { message: string; at: number } | undefined;
}

export interface ModelInstance {
  id: number;
  app: App;
  concurrency: number;
  /** Ids of the gets whose sessions it has, and of those that last. */
  sessions: number[];
  long: number[];
  /** Whether it says `done`, for how many sessions it has not yet, and when one was closed last. */
  reportsDone: boolean;
  undone: number;
  closedAt: number;
  /** Sessions it was done with; those given up; the fewest closed since it was looked at. */
  done: number;
  givenUp: { what: string; dueAt: number; doneBefore: number }[];
  leastClosing: number;
  lookAt: number;
  isGivenUp: boolean;
  standing: "pooled" | "leaving" | "dead";
  reason: RetireReason;
  /** Rises with every use of any instance. */
  used: number;
  usedAt: number;
  served: number;
  readyAt: number;
  firstServedAt: number;
  answeredAt: number;
  /** Failures in a row, and pauses, of its application before it was ready. */
  before: readonly [failures: number, pauses: number];
}

export interface ModelSpawn {
  id: number | undefined;
  app: App;
  options: AppRequest;
  /** Ids from here on arrived after it began. */
  beganAt: number;
  begunAtMs: number;
  /** When it was planned or began. */
  sinceAt: number;
  /** Whether it counts for max, and whether it takes a slot. */
  isPlaced: boolean;
  hasSlot: boolean;
  /** Ids from here on arrived after a restart or clear. */
  servesBefore: number;
}

export interface ModelGet {
  id: number;
  app: App;
  options: AppRequest;
  arrivedAt: number;
  kept: boolean;
  /** Of its session, if it is kept. */
  recall: "none" | "due" | "over";
  recalledAt: number;
  /** When its session has been open for too long. */
  limitAt: number;
  openedAt: number;
  failedConnects: number;
  tried: number[];
}

/** How long the answer to a recall is waited for, and a get held back for its sake. */
export const RECALL_MS = 20;

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
  lookedAt = -Infinity;
  effects: string[] = [];
  protected uses = 0;

  constructor(options: PoolOptions, limits: PoolLimits) {
    this.options = options;
    this.limits = limits;
  }

  get count(): number {
    return this.instances.filter(({ standing }) => standing === "pooled").length;
  }

  /** Instances that clients have sessions of. */
  get active(): number {
    return this.instances.filter((it) => it.standing === "pooled" && it.sessions.length > 0).length;
  }

  /** Instances that are not idle. */
  get busy(): number {
    return this.count - this.idle().length;
  }

  get leaving(): number {
    return this.instances.filter(({ standing }) => standing === "leaving").length;
  }

  /** What a snapshot of the pool must agree with. */
  look() {
    return {
      limits: this.limits,
      count: this.count,
      active: this.active,
      leaving: this.leaving,
      spawning: this.placedSpawns().length,
      waiting: this.waiting.length,
      sessions: this.granted.length,
      applications: this.apps
        .toSorted((a, b) => (a.root < b.root ? -1 : 1))
        .map((app) => this.#lookAt(app)),
    };
  }

  #lookAt(app: App) {
    const mine = this.instances.filter((instance) => instance.app === app);
    return {
      root: app.root,
      maxInstances: app.maxInstances || null,
      restartPending: this.pendingRestarts.includes(app),
      rollout: null,
      instances: mine.map((instance) => ({
        state: stateOf(instance),
        sessions: instance.sessions.length,
        closing: closingOf(instance),
        keptSessions: this.sessionsOf(instance).filter(({ kept }) => kept).length,
        longSessions: instance.long.length,
        served: instance.served,
      })),
      waiters: this.line(app).map((get) => ({
        ageMs: this.now - get.arrivedAt,
        failedConnects: get.failedConnects,
      })),
      planned: this.spawnsOf(app).filter(({ id }) => id === undefined).length,
      outdated: this.spawnsOf(app).filter(isOutdated).length,
      spawns: this.spawnsOf(app).length,
      lastSpawnError: app.lastFailure && {
        message: app.lastFailure.message,
        agoMs: this.now - app.lastFailure.at,
      },
      pauseMs: this.isPaused(app) ? app.pausedUntil - this.now : null,
    };
  }

  protected appOf(root: ByteString): App {
    const known = this.apps.find((app) => app.root === root);
    if (known !== undefined) return known;
    const app: App = {
      root,
      maxInstances: 0,
      settings: {},
      saidConcurrency: undefined,
      expectedConcurrency: 1,
      instances: 0,
      askedAt: -Infinity,
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
  protected slots(): ModelSpawn[] {
    return this.begun().filter((spawn) => spawn.hasSlot && !this.isSlow(spawn));
  }
  protected isSlow = ({ begunAtMs, hasSlot }: ModelSpawn) =>
    hasSlot && begunAtMs + this.options.slowSpawnMs <= this.now;
  protected placedSpawns = () => this.spawns.filter(({ isPlaced }) => isPlaced);
  protected placed = (app: App) =>
    this.pooled(app).length + this.spawnsOf(app).filter(({ isPlaced }) => isPlaced).length;

  protected planned = () => this.spawns.filter(({ id }) => id === undefined);
  protected spawnsOf = (app: App) => this.spawns.filter((spawn) => spawn.app === app);
  protected coming = (app: App) => this.spawnsOf(app).filter((spawn) => !isOutdated(spawn));
  protected allPlaces = () => this.count + this.placedSpawns().length;
  protected places = (app: App) => this.pooled(app).length + this.spawnsOf(app).length;

  /** The gets of an instance's open sessions, longest open first. */
  protected sessionsOf(instance: ModelInstance): ModelGet[] {
    return this.granted.filter(({ id }) => instance.sessions.includes(id));
  }

  /** The gets of the open sessions of an application in the pool, longest open first. */
  protected pooledSessions(app: App): ModelGet[] {
    const ids = this.pooled(app).flatMap(({ sessions }) => sessions);
    return this.granted.filter(({ id }) => ids.includes(id));
  }

  protected isRecalled = ({ recall }: ModelGet) => recall === "due";
  protected isUnasked = ({ kept, recall }: ModelGet) => kept && recall === "none";

  /** The waiting gets that these spawns under way are enough for. */
  protected covered(app: App, spawns = this.spawnsOf(app)): ModelGet[] {
    const places = spawns
      .toSorted((a, b) => a.servesBefore - b.servesBefore)
      .flatMap((spawn) => Array.from({ length: this.perSpawn(app) }, () => spawn));
    return this.line(app).filter((get) => {
      const at = places.findIndex((spawn) => get.id < spawn.servesBefore);
      if (at >= 0) places.splice(at, 1);
      return at >= 0;
    });
  }

  protected uncovered(app: App): ModelGet[] {
    const covered = this.covered(app);
    return this.line(app).filter((get) => !covered.includes(get));
  }

  /** The waiting gets that neither spawn nor share because recalls are due. */
  protected held(app: App): ModelGet[] {
    const uncovered = this.uncovered(app);
    const first = uncovered[0];
    if (first === undefined || first.arrivedAt + RECALL_MS <= this.now) return [];
    return uncovered.slice(0, this.awaited(app));
  }

  /** Places of an application that recalls and reports may free in a moment. */
  protected awaited(app: App): number {
    const busy = this.pooled(app).filter((instance) => !isFree(instance));
    const promised = busy
      .filter(this.isClosingSoon)
      .map(({ sessions, long, concurrency }) => concurrency - (sessions.length - long.length))
      .reduce((sum, places) => sum + Math.max(0, places), 0);
    return promised + this.pooledSessions(app).filter(this.isRecalled).length;
  }

  protected isClosingSoon = (instance: ModelInstance) =>
    instance.standing === "pooled" &&
    closingOf(instance) > 0 &&
    instance.closedAt + RECALL_MS > this.now;

  /** The gets that wait for a place: the first of each application that no spawn is for. */
  protected hungry(): ModelGet[] {
    return byArrival(this.waiting).filter((get) => {
      const { app } = get;
      if (this.isPaused(app) || this.places(app) >= this.limit(app)) return false;
      const held = this.held(app);
      return this.uncovered(app).find((other) => !held.includes(other)) === get;
    });
  }

  protected limit = ({ maxInstances, instances }: App) =>
    Math.min(this.limits.maxPerApp || 1e9, maxInstances || 1e9, instances || 1e9);

  protected pooled(app: App): ModelInstance[] {
    return this.instances.filter((it) => it.app === app && it.standing === "pooled");
  }

  /** Longest idle first. */
  protected idle(): ModelInstance[] {
    return this.instances
      .filter((instance) => instance.standing === "pooled" && taken(instance) === 0)
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

  instanceCalled(id: number): ModelInstance {
    const instance = this.instances.find((candidate) => candidate.id === id);
    if (instance === undefined) throw new Error(`model: no instance ${id}`);
    return instance;
  }

  protected endSession(id: number): ModelInstance {
    const instance = this.instanceOf(id);
    this.granted = this.granted.filter((get) => get.id !== id);
    instance.sessions = instance.sessions.filter((session) => session !== id);
    instance.long = instance.long.filter((session) => session !== id);
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

function stateOf(instance: ModelInstance): InspectedInstance["state"] {
  if (instance.standing !== "pooled") return instance.standing;
  if (taken(instance) === 0) return "idle";
  return isFree(instance) ? "active" : "busy";
}

/** Whether a restart or clear has come since it began. */
export function isOutdated({ servesBefore }: ModelSpawn): boolean {
  return servesBefore < Infinity;
}

/** Sessions that are open, or that it is not done with. */
export function taken({ sessions, undone }: ModelInstance): number {
  return Math.max(sessions.length, undone);
}

/** Closed sessions that it is surely not done with. */
export function closingOf({ sessions, undone }: ModelInstance): number {
  return Math.max(0, undone - sessions.length);
}

const load = (instance: ModelInstance) => taken(instance) - instance.long.length;

export function isFree(instance: ModelInstance): boolean {
  return load(instance) < instance.concurrency;
}

/** Fewest sessions first, the one used last among equals. */
export function best(instances: readonly ModelInstance[]): ModelInstance | undefined {
  return instances.toSorted((a, b) => load(a) - load(b) || b.used - a.used)[0];
}

export function byArrival(gets: readonly ModelGet[]): ModelGet[] {
  return gets.toSorted((a, b) => a.id - b.id);
}
