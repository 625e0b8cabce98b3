// Kept sessions and recalls in the naive model: who is asked for what.

import {
  type App,
  isFree,
  type ModelGet,
  type ModelInstance,
  ModelState,
  RECALL_MS,
  taken,
} from "./model-state.ts";

export class KeptModel extends ModelState {
  protected recall(get: ModelGet): void {
    get.recall = "due";
    get.recalledAt = this.now;
    this.say("recall", get.id);
  }

  protected recallAll(instance: ModelInstance): void {
    for (const get of this.sessionsOf(instance).filter(this.isUnasked)) this.recall(get);
  }

  protected expireRecalls(): void {
    for (const get of this.granted.filter(this.isRecalled)) {
      if (get.recalledAt + RECALL_MS <= this.now) get.recall = "over";
    }
  }

  /** One session is asked for by each get that waits and that no other place will be free for. */
  protected recallForLine(app: App): void {
    if (this.pooled(app).some(isFree)) return;
    const sessions = this.pooledSessions(app);
    const missing = this.line(app).length - this.awaited(app);
    if (missing <= 0) return;
    for (const get of sessions.filter(this.isUnasked).slice(0, missing)) this.recall(get);
  }

  /** One more shares the gets: the others are asked for what is beyond their part. */
  protected evenOut(app: App): void {
    if (app.instances < 2) return;
    const unasked = this.pooledSessions(app).filter(this.isUnasked);
    const share = Math.floor(unasked.length / this.pooled(app).length);
    for (const get of unasked) {
      const mine = this.sessionsOf(this.instanceOf(get.id)).filter(this.isUnasked);
      if (mine.length > share) this.recall(get);
    }
  }

  /** Instances that are busy with kept sessions alone are emptied where others are kept waiting. */
  protected emptyKept(): void {
    const bare = this.apps.filter((app) => {
      const mayGrow = !this.isPaused(app) && this.places(app) < this.limit(app);
      return this.isBare(app) && mayGrow && this.uncovered(app).length > 0;
    });
    const excess = Math.max(0, this.allPlaces() - this.limits.max);
    const restMs = this.options.shareAfterMs === undefined ? 0 : 100;
    const keeping = this.instances
      .filter((instance) => instance.standing === "pooled" && this.hasOnly(instance, "kept"))
      .toSorted((a, b) => a.used - b.used);
    for (const instance of keeping) {
      const emptying = keeping.filter((other) => this.hasOnly(other, "recalled"));
      const isAtRest = instance.usedAt + restMs <= this.now;
      if (emptying.length >= (isAtRest ? bare.length + excess : excess)) return;
      this.recallAll(instance);
    }
  }

  /** Whether it has nothing, here or to come. */
  protected isBare(app: App): boolean {
    return this.pooled(app).length === 0 && this.coming(app).length === 0;
  }

  /** Whether an instance is kept from being idle by such sessions alone. */
  private hasOnly(instance: ModelInstance, kind: "kept" | "recalled"): boolean {
    const is = kind === "kept" ? ({ kept }: ModelGet) => kept : this.isRecalled;
    const number = this.sessionsOf(instance).filter(is).length;
    return number > 0 && number === taken(instance);
  }
}
