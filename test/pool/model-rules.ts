// The rules in the naive model of the pool: what follows from what has happened, worked out anew at
// every step.

import type { RetireReason } from "../../src/pool/types.ts";
import { isFinishing, SharesModel } from "./model-shares.ts";
import {
  type App,
  best,
  byArrival,
  closingOf,
  isFree,
  isOutdated,
  type ModelGet,
  type ModelInstance,
  type ModelSpawn,
  taken,
} from "./model-state.ts";

export class RulesModel extends SharesModel {
  protected gets = 0;
  #spawnIds = 0;

  protected settle(): void {
    this.expireRecalls();
    for (const instance of this.instances) {
      if (instance.standing !== "pooled" && !this.isStillThere(instance)) {
        this.letGo(instance, instance.reason);
      }
    }
    this.#doPendingRestarts();
    // While something of an application is being spawned, its free instances are for its own gets.
    for (const get of byArrival(this.waiting)) {
      const free = best(this.pooled(get.app).filter(isFree));
      if (this.spawnsOf(get.app).length > 0 && free !== undefined) this.grant(get, free);
    }
    do this.#serveAll();
    while (this.takeShares() && this.#doPendingRestarts());
    while (byArrival(this.waiting).some((get) => this.#share(get))) {
      // One after the other.
    }
    this.shedIdle();
    if (this.begun().some(this.isSlow)) this.#serveAll();
    this.emptyKept();
    for (let next = this.#nextToBegin(); next !== undefined; next = this.#nextToBegin()) {
      this.#begin(next);
    }
    this.apps = this.apps.filter((app) => !this.#isForgettable(app));
  }

  #serveAll(): void {
    do {
      for (const app of this.apps) {
        const byLine = this.isPaused(app) ? 0 : this.#spawnsNeeded(app);
        const needed = Math.max(byLine, this.missing(app));
        this.dropPlans(app, () => this.coming(app).length > needed);
        this.recallForLine(app);
      }
    } while (byArrival(this.waiting).some((get) => this.#serve(get)));
  }

  /** Rules 2 to 5 for a waiting get; whether anything happened. */
  #serve(get: ModelGet): boolean {
    const { app } = get;
    const instances = this.pooled(app);
    const idle = best(instances.filter(isFree));
    if (idle !== undefined) return this.grant(get, idle);
    const { max } = this.limits;
    if (this.isPaused(app) && instances.length === 0) {
      return this.refuseSpawnFailed(get, app.lastFailure?.message ?? "");
    }
    const mayGrow = !this.isPaused(app) && this.places(app) < this.limit(app);
    const isCovered = this.covered(app).includes(get);
    if (instances.length > 0 || this.coming(app).length > 0) {
      const held = this.held(app);
      const free = this.uncovered(app).filter((other) => !held.includes(other));
      if (free.length === 0) return false;
      if (!mayGrow || free[0] !== get) return false;
      return (this.allPlaces() < max || this.#takeSlow(app)) && this.plan(get);
    }
    if (isCovered || !mayGrow) return false;
    if (!this.#mayEvict()) return this.#takeSlow(app) && this.plan(get);
    for (const instance of this.idle()) {
      if (this.allPlaces() >= max) this.letGo(instance, "evicted");
    }
    return this.plan(get);
  }

  /** Whether there is a place, or an idle instance whose place whoever has nothing may have. */
  #mayEvict(): boolean {
    const { max } = this.limits;
    if (this.allPlaces() < max) return true;
    if (this.busy + this.placedSpawns().length >= max) return false;
    const { shareAfterMs = 0 } = this.options;
    return this.idle().some(({ usedAt }) => usedAt + shareAfterMs <= this.now);
  }

  #takeSlow(app: App): boolean {
    const slow = this.#slowFor(app);
    if (slow !== undefined) slow.isPlaced = false;
    return slow !== undefined;
  }

  /** The oldest spawn of another application that may hang, if its place makes room. */
  #slowFor(app: App): ModelSpawn | undefined {
    const { max } = this.limits;
    if (this.allPlaces() > max || this.spawns.length - this.placedSpawns().length >= max) {
      return undefined;
    }
    return this.begun()
      .filter((spawn) => spawn.isPlaced && spawn.app !== app && this.isSlow(spawn))
      .toSorted((a, b) => a.begunAtMs - b.begunAtMs || (a.id ?? 0) - (b.id ?? 0))[0];
  }

  /** A busy instance for the first in line, if recalls are not for all of its line. */
  #share({ app }: ModelGet): boolean {
    const first = this.line(app)[0];
    const busy = best(this.pooled(app));
    if (first === undefined || busy === undefined || this.limits.useGlobalQueue) return false;
    if (this.held(app).length === this.line(app).length) return false;
    return this.spawnsOf(app).length === 0 && this.grant(first, busy);
  }

  protected isServedOnArrival(app: App): boolean {
    const instances = this.pooled(app);
    if (this.line(app).length === 0 && instances.some(isFree)) return true;
    if (this.isPaused(app) && instances.length === 0) return true;
    if (this.limits.useGlobalQueue || this.line(app).length > 0) return false;
    if (instances.length === 0 || this.spawnsOf(app).length > 0) return false;
    const hasPlace = this.allPlaces() < this.limits.max || this.#slowFor(app) !== undefined;
    const isFull = !hasPlace || this.places(app) >= this.limit(app);
    return isFull || this.isPaused(app);
  }

  protected grant(get: ModelGet, instance: ModelInstance): true {
    this.waiting = this.waiting.filter((other) => other !== get);
    this.granted.push(get);
    const { requestMs = this.options.requestMs ?? 0 } = get.app.settings;
    get.limitAt = get.kept || requestMs === 0 ? Infinity : this.now + requestMs;
    get.openedAt = this.now;
    instance.sessions.push(get.id);
    if (instance.reportsDone) instance.undone++;
    this.use(instance);
    this.say("grant", get.id, instance.id);
    if (instance.standing !== "pooled" && get.kept) this.recall(get);
    return true;
  }

  /** The spawn planned first where fewest slots are taken, fewer than are free. */
  #nextToBegin(): ModelSpawn | undefined {
    const has = (app: App) => this.slots().filter((spawn) => spawn.app === app).length;
    const free = this.options.spawnsAtOnce - this.slots().length;
    const { shareAfterMs = Infinity } = this.options;
    const next = this.planned().toSorted((a, b) => has(a.app) - has(b.app))[0];
    if (next === undefined) return undefined;
    next.hasSlot = has(next.app) < free;
    const isLate = has(next.app) === 0 && next.sinceAt + shareAfterMs <= this.now;
    return next.hasSlot || isLate ? next : undefined;
  }

  #begin(spawn: ModelSpawn): void {
    spawn.begunAtMs = this.now;
    spawn.sinceAt = this.now;
    spawn.id = this.#spawnIds++;
    spawn.beganAt = this.gets;
    this.say("spawn", spawn.id, spawn.app.root, spawn.options.environment);
  }

  #spawnsNeeded(app: App): number {
    const outdated = this.spawnsOf(app).filter(isOutdated);
    const rest = this.line(app).length - this.covered(app, outdated).length;
    return Math.ceil(rest / this.perSpawn(app));
  }

  /** How many more are to share its gets. */
  protected missing(app: App): number {
    if (app.instances < 2 || this.isPaused(app)) return 0;
    const outdated = this.spawnsOf(app).filter(isOutdated);
    return Math.max(0, this.limit(app) - this.pooled(app).length - outdated.length);
  }

  /** For an application whose get has come, or has come back. */
  protected planMissing(get: ModelGet): void {
    while (this.missing(get.app) > this.coming(get.app).length) {
      if (this.allPlaces() >= this.limits.max) return;
      this.plan(get);
    }
  }

  protected dropPlans(app: App, tooMany: () => boolean): void {
    while (tooMany()) {
      const last = this.planned().findLast((spawn) => spawn.app === app);
      if (last === undefined) return;
      this.removeSpawn(last);
    }
  }

  protected shedIdle(): void {
    for (const instance of this.idle()) {
      if (this.allPlaces() > this.limits.max) this.letGo(instance, "excess");
    }
  }

  /** An instance is given up whose reports prove that a request takes too long. */
  protected giveUpOverdue(): void {
    const ordered = this.instances.toSorted((a, b) => a.lookAt - b.lookAt);
    for (const instance of ordered) {
      const { givenUp, lookAt, standing, done } = instance;
      if (lookAt > this.now || standing === "dead" || instance.isGivenUp) continue;
      const closing = closingOf(instance);
      const first = givenUp[0];
      if (closing === 0 || first === undefined) {
        instance.givenUp = [];
        instance.lookAt = Infinity;
        continue;
      }
      const younger = givenUp.filter(({ dueAt }) => dueAt > this.now).length;
      if (first.doneBefore === done || instance.leastClosing > younger) {
        this.giveUp(instance, first.what);
      } else {
        instance.leastClosing = closing;
        instance.lookAt = this.now + 1000;
      }
    }
    for (const get of this.granted.toSorted((a, b) => a.limitAt - b.limitAt)) {
      if (get.limitAt > this.now) continue;
      const instance = this.instanceOf(get.id);
      const isUndone = !instance.reportsDone || instance.undone >= instance.sessions.length;
      get.limitAt = isUndone ? Infinity : this.now + 1000;
      if (isUndone) this.giveUp(instance, "unknown");
    }
  }

  protected giveUp(instance: ModelInstance, what: string): void {
    instance.lookAt = Infinity;
    if (instance.isGivenUp || instance.standing === "dead") return;
    instance.isGivenUp = true;
    this.say("giveUp", instance.id, what);
    if (instance.standing !== "pooled") return;
    instance.standing = "leaving";
    instance.reason = "overdue";
    this.recallAll(instance);
    if (instance.sessions.length === 0) this.letGo(instance, "overdue");
  }

  protected askForRestart(app: App): void {
    this.forgive(app);
    if (this.#restartFits(app)) this.#restart(app);
    else if (!this.pendingRestarts.includes(app)) this.pendingRestarts.push(app);
  }

  #doPendingRestarts(): true {
    for (const app of this.pendingRestarts) if (this.#restartFits(app)) this.#restart(app);
    return true;
  }

  #restartFits(app: App): boolean {
    const busy = this.pooled(app).filter((instance) => taken(instance) > 0).length;
    const goes = busy + this.begun().filter((s) => s.app === app && !isOutdated(s)).length;
    const finishing = this.instances.filter(isFinishing).length;
    const going = this.leaving - finishing + this.spawns.filter(isOutdated).length;
    return goes === 0 || going + goes <= this.limits.max;
  }

  #restart(app: App): void {
    this.pendingRestarts = this.pendingRestarts.filter((other) => other !== app);
    this.sendAway(app, "restarted");
    this.say("reload", app.root);
  }

  protected sendAway(app: App, reason: RetireReason): void {
    for (const instance of this.pooled(app)) {
      instance.standing = "leaving";
      instance.reason = reason;
      this.recallAll(instance);
      if (instance.sessions.length === 0) this.letGo(instance, reason);
    }
    for (const spawn of this.begun()) {
      if (spawn.app === app) spawn.servesBefore = Math.min(spawn.servesBefore, this.gets);
    }
  }

  #isForgettable(app: App): boolean {
    const mine = [...this.instances, ...this.spawns, ...this.waiting];
    const isConfigured = Object.values(app.settings).some((value) => value !== undefined);
    if (app.maxInstances > 0 || isConfigured || mine.some((thing) => thing.app === app)) {
      return false;
    }
    const memory = Math.max(60_000, 2 * (this.options.failurePause?.maxMs ?? 0));
    return app.failuresInRow === 0 || (app.lastFailure?.at ?? 0) + memory <= this.now;
  }

  protected refuseSpawnFailed(get: ModelGet, message: string): true {
    this.waiting = this.waiting.filter((other) => other !== get);
    this.say("refuse", get.id, "spawnFailed", message);
    return true;
  }
}
