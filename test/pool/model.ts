// The rules of the pool written down a second time, as naively as possible: arrays, scans,
// everything worked out anew at every step. Slow and, it is hoped, obviously right. It decides what
// the pool must do in random histories. Here is what happens to it, what follows is in
// model-rules.ts. Sessions go by the id of their get, which has one at most.

import type { ApplicationSettings, GetRequest, PoolLimits } from "../../src/pool/types.ts";
import type { ByteString } from "../../src/wire/bytes.ts";
import { RulesModel } from "./model-rules.ts";
import {
  best,
  closingOf,
  isFree,
  isOutdated,
  type ModelGet,
  type ModelInstance,
  RECALL_MS,
} from "./model-state.ts";

export class Model extends RulesModel {
  #instanceIds = 0;

  // What clients, instances and spawners do

  get(request: GetRequest): number {
    const app = this.appOf(request.root);
    app.expectedConcurrency = request.expectedConcurrency;
    app.instances = request.instances ?? 0;
    app.askedAt = this.now;
    this.dropPlans(app, () => this.places(app) > this.limit(app));
    if (request.restart) this.askForRestart(app);
    const get: ModelGet = {
      id: this.gets++,
      app,
      options: request.options,
      arrivedAt: this.now,
      kept: request.kept,
      recall: "none",
      recalledAt: 0,
      limitAt: Infinity,
      openedAt: Infinity,
      failedConnects: 0,
      tried: [],
    };
    this.expireRecalls();
    const mustWait = !this.isServedOnArrival(app);
    const { maxQueue: most } = this.options;
    const { maxQueue: own = 0 } = app.settings;
    const isOwnFull = own > 0 && this.line(app).length >= own;
    const isFull = isOwnFull || (most > 0 && this.waiting.length >= most);
    const pooled = this.pooled(app);
    const instance = best(pooled.filter(isFree)) ?? best(pooled);
    if (mustWait && isFull) {
      this.say("refuse", get.id, "busy");
    } else if ((isFull || pooled.some(isFree)) && instance !== undefined) {
      // There is no room to wait for the answer to a recall.
      this.grant(get, instance);
    } else {
      this.waiting.push(get);
    }
    this.planMissing(get);
    this.settle();
    return get.id;
  }

  cancel(id: number): void {
    this.waiting = this.waiting.filter((get) => get.id !== id);
    this.settle();
  }

  spawned(id: number, concurrency: number, reportsDone: boolean): void {
    const spawn = this.takeSpawn(id);
    const { app } = spawn;
    const isLate = isOutdated(spawn);
    const isOutside = isLate || !(spawn.isPlaced || this.findRoom(app));
    const instance: ModelInstance = {
      id: this.#instanceIds++,
      app,
      concurrency,
      sessions: [],
      long: [],
      reportsDone,
      undone: 0,
      closedAt: -Infinity,
      done: 0,
      givenUp: [],
      leastClosing: 0,
      lookAt: Infinity,
      isGivenUp: false,
      standing: isOutside ? "leaving" : "pooled",
      reason: isLate ? "outdated" : "excess",
      used: ++this.uses,
      usedAt: this.now,
      served: 0,
      readyAt: this.now,
      firstServedAt: Infinity,
      answeredAt: -Infinity,
      before: [app.failuresInRow, app.pauses],
    };
    this.instances.push(instance);
    if (!isLate) {
      app.saidConcurrency = concurrency;
      this.forgive(app);
    }
    for (const get of this.line(app)) {
      if (get.id < spawn.servesBefore && instance.sessions.length < concurrency) {
        this.grant(get, instance);
      }
    }
    if (!isOutside) this.evenOut(app);
    this.settle();
  }

  spawnFailed(id: number, message: string): void {
    const spawn = this.takeSpawn(id);
    const { app } = spawn;
    if (!isOutdated(spawn)) this.noteFailure(app, message, 2);
    for (const get of this.line(app)) {
      if (get.id < spawn.beganAt) this.refuseSpawnFailed(get, message);
    }
    this.settle();
  }

  sessionClosed(id: number): void {
    this.instanceOf(id).answeredAt = this.now;
    this.#sessionEnded(id);
  }

  /** @param overdue what its request was, if that shows that its instance is stuck. */
  #sessionEnded(id: number, overdue?: string): void {
    const instance = this.endSession(id);
    if (instance.served++ === 0) instance.firstServedAt = this.now;
    if (closingOf(instance) > 0) instance.closedAt = this.now;
    this.use(instance);
    if (overdue !== undefined) this.giveUp(instance, overdue);
    this.settle();
  }

  sessionAbandoned(id: number, what: string, isLate: boolean): void {
    const instance = this.instanceOf(id);
    const { abandonMs = this.options.abandonMs ?? 0 } = instance.app.settings;
    const { givenUp } = instance;
    // It is closed first; what that leads to comes after.
    const isLast =
      instance.standing !== "pooled" && instance.sessions.length === 1 && !this.hasTime(instance);
    const willClose = Math.max(0, instance.undone - (instance.sessions.length - 1)) > 0;
    const mayLive = instance.standing !== "dead" && !instance.isGivenUp && !isLast;
    if (mayLive && willClose && (isLate || abandonMs > 0)) {
      const dueAt = this.now + (isLate ? RECALL_MS : Math.max(abandonMs, RECALL_MS));
      if (givenUp.length === 0) instance.leastClosing = closingOf(instance) + 1;
      givenUp.push({ what, dueAt, doneBefore: instance.done });
      instance.givenUp = givenUp.toSorted((a, b) => a.dueAt - b.dueAt);
      instance.lookAt = Math.min(instance.lookAt, dueAt);
    }
    const { requestMs = this.options.requestMs ?? 0 } = instance.app.settings;
    const isSilent = !instance.reportsDone && instance.answeredAt < this.grantedGet(id).openedAt;
    // One that reports nothing goes with its last session.
    const isThere = instance.standing === "pooled" || instance.sessions.length > 1;
    this.#sessionEnded(id, isLate && requestMs > 0 && isSilent && isThere ? what : undefined);
  }

  sessionUnused(id: number): void {
    const instance = this.endSession(id);
    if (instance.reportsDone) instance.undone--;
    this.use(instance);
    this.settle();
  }

  sessionsDone(id: number, sessions: number): void {
    const instance = this.instanceCalled(id);
    instance.undone -= sessions;
    instance.done += sessions;
    instance.leastClosing = Math.min(instance.leastClosing, closingOf(instance));
    this.use(instance);
    this.settle();
  }

  sessionLong(id: number): void {
    const instance = this.instanceOf(id);
    this.grantedGet(id).limitAt = Infinity;
    if (!instance.long.includes(id)) {
      instance.long.push(id);
      this.use(instance);
    }
    this.settle();
  }

  sessionKept(id: number): void {
    const get = this.grantedGet(id);
    if (get.recall === "due") get.recall = "over";
    this.settle();
  }

  connectFailed(id: number, cause: string): void {
    const get = this.grantedGet(id);
    const instance = this.endSession(id);
    if (instance.reportsDone) instance.undone--;
    this.use(instance);
    if (instance.standing === "pooled") {
      this.noteEarlyEnd(instance, "could not be connected to", `: ${cause}`);
      instance.standing = "leaving";
      instance.reason = "unreachable";
      this.recallAll(instance);
    }
    get.recall = "none";
    get.failedConnects++;
    if (get.failedConnects === 10) this.say("refuse", id, "cannotConnect");
    else {
      this.waiting.push(get);
      this.planMissing(get);
    }
    this.settle();
  }

  alternative(id: number): number | undefined {
    const get = this.grantedGet(id);
    const from = this.instanceOf(id);
    get.tried.push(from.id);
    const untried = this.pooled(get.app).filter((instance) => !get.tried.includes(instance.id));
    const to = best(untried.filter(isFree)) ?? best(untried);
    if (to !== undefined) {
      to.sessions.push(id);
      if (to.reportsDone) to.undone++;
      this.use(to);
      from.sessions = from.sessions.filter((session) => session !== id);
      if (from.reportsDone) from.undone--;
      this.use(from);
    }
    this.settle();
    return to?.id;
  }

  instanceDied(id: number): void {
    const instance = this.instanceCalled(id);
    if (instance.standing === "pooled") {
      this.noteEarlyEnd(instance, "died", "");
      instance.reason = "died";
      this.recallAll(instance);
    }
    instance.standing = "dead";
    this.settle();
  }

  // What administrators and the clock do

  setLimits(change: Partial<PoolLimits>): void {
    this.limits = { ...this.limits, ...change };
    for (const app of this.apps) this.dropPlans(app, () => this.places(app) > this.limit(app));
    this.shedIdle();
    while (this.allPlaces() > this.limits.max && this.planned().length > 0) {
      this.removeSpawn(this.planned().at(-1));
    }
    this.settle();
  }

  configure(root: ByteString, settings: ApplicationSettings): void {
    const app = this.appOf(root);
    const { maxInstances = 0, ...rest } = settings;
    app.maxInstances = maxInstances;
    app.settings = rest;
    app.saidConcurrency = undefined;
    this.dropPlans(app, () => this.places(app) > this.limit(app));
    this.settle();
  }

  clear(): void {
    for (const app of this.apps) this.sendAway(app, "cleared");
    this.settle();
  }

  tick(): void {
    const { maxWaitMs } = this.options;
    for (const get of this.waiting) {
      if (maxWaitMs === 0 || get.arrivedAt + maxWaitMs > this.now) continue;
      this.waiting = this.waiting.filter((other) => other !== get);
      this.say("refuse", get.id, "busy");
    }
    this.giveUpOverdue();
    for (const instance of this.idle()) {
      const dueAt = unusedSince(instance) + this.limits.maxIdleMs;
      if (dueAt <= this.now) this.letGo(instance, "idle");
    }
    this.settle();
  }

  /** The latest time at which somebody must look again, if nothing happens before. */
  firstDeadline(): number {
    const idle = this.idle().map((instance) => unusedSince(instance) + this.limits.maxIdleMs);
    const { maxWaitMs } = this.options;
    const waits = maxWaitMs === 0 ? [] : this.waiting.map((get) => get.arrivedAt + maxWaitMs);
    const pauses = this.waiting.filter(({ app }) => this.isPaused(app));
    const recalls = this.granted.filter(({ recall }) => recall === "due");
    const held = this.apps.flatMap((app) => this.held(app).map((get) => get.arrivedAt + RECALL_MS));
    const promised = this.instances.filter(this.isClosingSoon);
    return Math.min(
      ...idle,
      ...waits,
      ...pauses.map(({ app }) => app.pausedUntil),
      ...recalls.map(({ recalledAt }) => recalledAt + RECALL_MS),
      ...held,
      ...(this.waiting.length > 0 ? promised : []).map(({ closedAt }) => closedAt + RECALL_MS),
      ...this.granted.map(({ limitAt }) => limitAt),
      ...this.instances.map((it) =>
        it.standing === "dead" || it.isGivenUp ? Infinity : it.lookAt,
      ),
      ...(this.planned().length + this.hungry().length > 0
        ? this.slots().map(({ begunAtMs }) => begunAtMs)
        : []
      ).map((begunAtMs) => begunAtMs + this.options.slowSpawnMs),
    );
  }

  hasInstances(root: string): boolean {
    const app = this.apps.find((candidate) => candidate.root === root);
    return app !== undefined && (this.pooled(app).length > 0 || app.pausedUntil > this.now);
  }
}

/** Those that share an application's gets stay as long as there are some for any of them. */
function unusedSince({ app, usedAt }: ModelInstance): number {
  return app.instances > 1 ? Math.max(usedAt, app.askedAt) : usedAt;
}
