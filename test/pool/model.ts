// The rules of the pool written down a second time, as naively as possible: arrays, scans,
// everything worked out anew at every step. Slow and, it is hoped, obviously right. It decides what
// the pool must do in random histories. Sessions go by the id of their get, which has one at most.

import type { GetRequest, PoolLimits, RetireReason } from "../../src/pool/types.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import {
  type App,
  best,
  byArrival,
  isFree,
  isOutdated,
  type ModelGet,
  type ModelInstance,
  type ModelSpawn,
} from "./model-state.ts";
import { FailureModel } from "./model-failures.ts";

export class Model extends FailureModel {
  #gets = 0;
  #spawnIds = 0;
  #instanceIds = 0;

  // What clients, instances and spawners do

  get(request: GetRequest<string>): number {
    const app = this.appOf(request.root);
    app.expectedConcurrency = request.expectedConcurrency;
    if (request.restart) this.#askForRestart(app);
    const get: ModelGet = {
      id: this.#gets++,
      app,
      options: request.options,
      arrivedAt: this.now,
      kept: request.kept,
      recall: "none",
      recalledAt: 0,
      failedConnects: 0,
      tried: [],
    };
    this.expireRecalls();
    const mustWait = !this.#isServedOnArrival(app);
    const isFull = this.options.maxQueue > 0 && this.waiting.length >= this.options.maxQueue;
    const pooled = this.pooled(app);
    const instance = best(pooled.filter(isFree)) ?? best(pooled);
    if (mustWait && isFull) {
      this.say("refuse", get.id, "busy");
    } else if (isFull && instance !== undefined) {
      // There is no room to wait for the answer to a recall.
      this.#grant(get, instance);
    } else {
      this.waiting.push(get);
    }
    this.#settle();
    return get.id;
  }

  cancel(id: number): void {
    this.waiting = this.waiting.filter((get) => get.id !== id);
    this.#settle();
  }

  spawned(id: number, concurrency: number): void {
    const spawn = this.takeSpawn(id);
    const { app } = spawn;
    const isLate = isOutdated(spawn);
    const instance: ModelInstance = {
      id: this.#instanceIds++,
      app,
      concurrency,
      sessions: [],
      standing: isLate ? "leaving" : "pooled",
      reason: "outdated",
      used: ++this.uses,
      usedAt: this.now,
      served: 0,
      readyAt: this.now,
      firstServedAt: Infinity,
      before: [app.failuresInRow, app.pauses],
    };
    this.instances.push(instance);
    if (!isLate) {
      app.saidConcurrency = concurrency;
      this.forgive(app);
    }
    for (const get of this.line(app)) {
      if (get.id < spawn.servesBefore && instance.sessions.length < concurrency) {
        this.#grant(get, instance);
      }
    }
    this.#settle();
  }

  spawnFailed(id: number, message: string): void {
    const spawn = this.takeSpawn(id);
    const { app } = spawn;
    if (!isOutdated(spawn)) this.noteFailure(app, message, 2);
    for (const get of this.line(app)) {
      if (get.id < spawn.beganAt) this.#refuseSpawnFailed(get, message);
    }
    this.#settle();
  }

  sessionClosed(id: number): void {
    const instance = this.endSession(id);
    if (instance.served++ === 0) instance.firstServedAt = this.now;
    this.use(instance);
    this.#settle();
  }

  sessionKept(id: number): void {
    const get = this.grantedGet(id);
    if (get.recall === "due") get.recall = "over";
    this.#settle();
  }

  connectFailed(id: number, cause: string): void {
    const get = this.grantedGet(id);
    const instance = this.endSession(id);
    if (instance.standing === "pooled") {
      this.noteEarlyEnd(instance, "could not be connected to", `: ${cause}`);
      instance.standing = "leaving";
      instance.reason = "unreachable";
      this.recallAll(instance);
    }
    get.recall = "none";
    get.failedConnects++;
    if (get.failedConnects === 10) this.say("refuse", id, "cannotConnect");
    else this.waiting.push(get);
    this.#settle();
  }

  alternative(id: number): number | undefined {
    const get = this.grantedGet(id);
    const from = this.instanceOf(id);
    get.tried.push(from.id);
    const untried = this.pooled(get.app).filter((instance) => !get.tried.includes(instance.id));
    const to = best(untried.filter(isFree)) ?? best(untried);
    if (to !== undefined) {
      to.sessions.push(id);
      this.use(to);
      from.sessions = from.sessions.filter((session) => session !== id);
      this.use(from);
    }
    this.#settle();
    return to?.id;
  }

  instanceDied(id: number): void {
    const instance = this.instances.find((candidate) => candidate.id === id);
    if (instance === undefined) throw new Error(`model: no instance ${id}`);
    if (instance.standing === "pooled") {
      this.noteEarlyEnd(instance, "died", "");
      instance.reason = "died";
      this.recallAll(instance);
    }
    instance.standing = "dead";
    this.#settle();
  }

  // What administrators and the clock do

  setLimits(change: Partial<PoolLimits>): void {
    this.limits = { ...this.limits, ...change };
    for (const app of this.apps) this.#dropPlans(app, () => this.places(app) > this.limit(app));
    this.#shedIdle();
    while (this.allPlaces() > this.limits.max && this.planned().length > 0) {
      this.removeSpawn(this.planned().at(-1));
    }
    this.#settle();
  }

  configure(root: ByteString, maxInstances: number): void {
    const app = this.appOf(root);
    app.maxInstances = maxInstances;
    app.saidConcurrency = undefined;
    this.#dropPlans(app, () => this.places(app) > this.limit(app));
    this.#settle();
  }

  clear(): void {
    for (const app of this.apps) this.#sendAway(app, "cleared");
    this.#settle();
  }

  tick(): void {
    const { maxWaitMs } = this.options;
    for (const get of this.waiting) {
      if (maxWaitMs === 0 || get.arrivedAt + maxWaitMs > this.now) continue;
      this.waiting = this.waiting.filter((other) => other !== get);
      this.say("refuse", get.id, "busy");
    }
    for (const instance of this.idle()) {
      if (instance.usedAt + this.limits.maxIdleMs <= this.now) this.#letGo(instance, "idle");
    }
    this.#settle();
  }

  hasInstances(root: string): boolean {
    const app = this.apps.find((candidate) => candidate.root === root);
    return app !== undefined && (this.pooled(app).length > 0 || app.pausedUntil > this.now);
  }

  // The rules

  #settle(): void {
    this.expireRecalls();
    for (const instance of this.instances) {
      const isDone = instance.standing !== "pooled" && instance.sessions.length === 0;
      if (isDone) this.#letGo(instance, instance.reason);
    }
    for (const app of this.pendingRestarts) if (this.#restartFits(app)) this.#restart(app);
    // While something of an application is being spawned, its free instances are for its own gets.
    for (const get of byArrival(this.waiting)) {
      const free = best(this.pooled(get.app).filter(isFree));
      if (this.spawnsOf(get.app).length > 0 && free !== undefined) this.#grant(get, free);
    }
    do {
      for (const app of this.apps) {
        const needed = this.isPaused(app) ? 0 : this.#spawnsNeeded(app);
        this.#dropPlans(app, () => this.coming(app).length > needed);
        this.recallForLine(app);
      }
    } while (byArrival(this.waiting).some((get) => this.#serve(get)));
    while (byArrival(this.waiting).some((get) => this.#share(get))) {
      // One after the other.
    }
    this.#shedIdle();
    this.emptyKept();
    for (let next = this.#nextToBegin(); next !== undefined; next = this.#nextToBegin()) {
      this.#begin(next);
    }
    this.apps = this.apps.filter((app) => !this.#isForgettable(app));
  }

  /** Rules 2 to 5 for a waiting get; whether anything happened. */
  #serve(get: ModelGet): boolean {
    const { app } = get;
    const instances = this.pooled(app);
    const idle = best(instances.filter(isFree));
    if (idle !== undefined) return this.#grant(get, idle);
    const { max } = this.limits;
    if (this.isPaused(app) && instances.length === 0) {
      return this.#refuseSpawnFailed(get, app.lastFailure?.message ?? "");
    }
    const mayGrow = !this.isPaused(app) && this.places(app) < this.limit(app);
    const isCovered = this.covered(app).includes(get);
    if (instances.length > 0 || this.coming(app).length > 0) {
      const held = this.held(app);
      const free = this.uncovered(app).filter((other) => !held.includes(other));
      if (free.length === 0) return false;
      return mayGrow && this.allPlaces() < max && free[0] === get && this.#plan(get);
    }
    if (isCovered || !mayGrow || this.active + this.spawns.length >= max) return false;
    for (const instance of this.idle()) {
      if (this.allPlaces() >= max) this.#letGo(instance, "evicted");
    }
    return this.#plan(get);
  }

  /** A busy instance for the first in line, if recalls are not for all of its line. */
  #share({ app }: ModelGet): boolean {
    const first = this.line(app)[0];
    const busy = best(this.pooled(app));
    if (first === undefined || busy === undefined || this.limits.useGlobalQueue) return false;
    if (this.held(app).length === this.line(app).length) return false;
    return this.spawnsOf(app).length === 0 && this.#grant(first, busy);
  }

  #isServedOnArrival(app: App): boolean {
    const instances = this.pooled(app);
    if (this.line(app).length === 0 && instances.some(isFree)) return true;
    if (this.isPaused(app) && instances.length === 0) return true;
    if (this.limits.useGlobalQueue || this.line(app).length > 0) return false;
    if (instances.length === 0 || this.spawnsOf(app).length > 0) return false;
    const isFull = this.allPlaces() >= this.limits.max || this.places(app) >= this.limit(app);
    return isFull || this.isPaused(app);
  }

  #grant(get: ModelGet, instance: ModelInstance): true {
    this.waiting = this.waiting.filter((other) => other !== get);
    this.granted.push(get);
    instance.sessions.push(get.id);
    this.use(instance);
    this.say("grant", get.id, instance.id);
    if (instance.standing !== "pooled" && get.kept) this.recall(get);
    return true;
  }

  #plan(get: ModelGet): true {
    const { app, options } = get;
    this.spawns.push({
      id: undefined,
      app,
      options,
      beganAt: 0,
      begunAtMs: 0,
      servesBefore: Infinity,
    });
    return true;
  }

  /** The spawn planned first where fewest slots are taken, fewer than are free. */
  #nextToBegin(): ModelSpawn | undefined {
    const has = (app: App) => this.slots().filter((spawn) => spawn.app === app).length;
    const free = this.options.spawnsAtOnce - this.slots().length;
    return this.planned()
      .filter(({ app }) => has(app) < free)
      .toSorted((a, b) => has(a.app) - has(b.app))[0];
  }

  #begin(spawn: ModelSpawn): void {
    spawn.begunAtMs = this.now;
    spawn.id = this.#spawnIds++;
    spawn.beganAt = this.#gets;
    this.say("spawn", spawn.id, spawn.app.root, spawn.options);
  }

  #spawnsNeeded(app: App): number {
    const outdated = this.spawnsOf(app).filter(isOutdated);
    const rest = this.line(app).length - this.covered(app, outdated).length;
    return Math.ceil(rest / this.perSpawn(app));
  }

  #dropPlans(app: App, tooMany: () => boolean): void {
    while (tooMany()) {
      const last = this.planned().findLast((spawn) => spawn.app === app);
      if (last === undefined) return;
      this.removeSpawn(last);
    }
  }

  #shedIdle(): void {
    for (const instance of this.idle()) {
      if (this.allPlaces() > this.limits.max) this.#letGo(instance, "excess");
    }
  }

  #askForRestart(app: App): void {
    this.forgive(app);
    if (this.#restartFits(app)) this.#restart(app);
    else if (!this.pendingRestarts.includes(app)) this.pendingRestarts.push(app);
  }

  #restartFits(app: App): boolean {
    const busy = this.pooled(app).filter(({ sessions }) => sessions.length > 0).length;
    const goes = busy + this.begun().filter((s) => s.app === app && !isOutdated(s)).length;
    const going = this.leaving + this.spawns.filter(isOutdated).length;
    return goes === 0 || going + goes <= this.limits.max;
  }

  #restart(app: App): void {
    this.pendingRestarts = this.pendingRestarts.filter((other) => other !== app);
    this.#sendAway(app, "restarted");
    this.say("reload", app.root);
  }

  #sendAway(app: App, reason: RetireReason): void {
    for (const instance of this.pooled(app)) {
      instance.standing = "leaving";
      instance.reason = reason;
      this.recallAll(instance);
      if (instance.sessions.length === 0) this.#letGo(instance, reason);
    }
    for (const spawn of this.begun()) {
      if (spawn.app === app) spawn.servesBefore = Math.min(spawn.servesBefore, this.#gets);
    }
  }

  #isForgettable(app: App): boolean {
    const mine = [...this.instances, ...this.spawns, ...this.waiting];
    if (app.maxInstances > 0 || mine.some((thing) => thing.app === app)) return false;
    const memory = Math.max(60_000, 2 * (this.options.failurePause?.maxMs ?? 0));
    return app.failuresInRow === 0 || (app.lastFailure?.at ?? 0) + memory <= this.now;
  }

  #refuseSpawnFailed(get: ModelGet, message: string): true {
    this.waiting = this.waiting.filter((other) => other !== get);
    this.say("refuse", get.id, "spawnFailed", message);
    return true;
  }

  #letGo(instance: ModelInstance, reason: RetireReason): void {
    this.instances = this.instances.filter((other) => other !== instance);
    this.say("retire", instance.id, reason);
  }
}
