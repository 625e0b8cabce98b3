// How a full pool is shared, in the naive model: who loses his place to whom.

import type { RetireReason } from "../../src/pool/types.ts";
import { FailureModel } from "./model-failures.ts";
import {
  type App,
  best,
  closingOf,
  isFree,
  isOutdated,
  type ModelGet,
  type ModelInstance,
  taken,
} from "./model-state.ts";

const weight = ({ settings }: App) => settings.weight ?? 1;

export class SharesModel extends FailureModel {
  /** Places for those who have waited for one and have less than their share. */
  protected takeShares(): boolean {
    const { shareAfterMs } = this.options;
    const { max } = this.limits;
    if (shareAfterMs === undefined) return false;
    const hungry = this.hungry();
    const hasWaited = ({ arrivedAt }: ModelGet) => arrivedAt + shareAfterMs <= this.now;
    const bare = hungry.filter(({ app }) => this.isBare(app));
    if (this.now < this.lookedAt + 100) return false;
    if (bare.length === 0 && !hungry.some(hasWaited)) return false;
    this.lookedAt = this.now;
    for (const get of hungry) {
      if (this.allPlaces() !== max) continue;
      const isFreed =
        (bare.includes(get) && this.#takeUseless()) ||
        (hasWaited(get) && this.#takeFromOther(get, shareAfterMs));
      if (isFreed) this.plan(get);
    }
    return true;
  }

  /** The place of an instance that is stuck, or idle and not in use. */
  #takeUseless(): boolean {
    const { shareAfterMs = Infinity } = this.options;
    const stuck = this.instances
      .filter((it) => it.standing === "pooled" && it.usedAt + shareAfterMs <= this.now)
      .filter((it) => this.#isStuck(it))
      .toSorted((a, b) => a.usedAt - b.usedAt);
    const [rested] = this.idle().filter(({ usedAt }) => usedAt + 100 <= this.now);
    const [least = rested] = this.#mayLeave() ? stuck : [];
    if (least !== undefined) this.#evict(least);
    return least !== undefined;
  }

  #isStuck(instance: ModelInstance): boolean {
    const { sessions, long, concurrency } = instance;
    if (sessions.length === 0) return instance.undone > 0;
    return (
      concurrency === 1 && long.length === 0 && !this.sessionsOf(instance).some(this.isUnasked)
    );
  }

  #mayLeave(): boolean {
    return this.leaving < this.limits.max || this.instances.some(isFinishing);
  }

  #evict(instance: ModelInstance): void {
    if (taken(instance) > 0 && this.leaving >= this.limits.max) this.#giveUpFinishing();
    instance.standing = "leaving";
    instance.reason = "evicted";
    this.recallAll(instance);
    if (!this.isStillThere(instance)) this.letGo(instance, "evicted");
  }

  /** Of the application with most of them for its weight the one used longest ago. */
  #giveUpFinishing(): void {
    const finishing = this.instances.filter(isFinishing);
    const share = ({ app }: ModelInstance) =>
      finishing.filter((it) => it.app === app).length / weight(app);
    const [first] = finishing
      .toSorted((a, b) => a.usedAt - b.usedAt)
      .toSorted((a, b) => share(b) - share(a));
    if (first === undefined) return;
    this.say("giveUp", first.id, first.givenUp[0]?.what ?? "unknown");
    this.letGo(first, first.reason);
  }

  #takeFromOther({ app, arrivedAt }: ModelGet, shareAfterMs: number): boolean {
    const owned =
      this.placed(app) + this.instances.filter((it) => it.app === app && isFinishing(it)).length;
    const mine = (owned + 1) / weight(app);
    const owing = this.apps.filter((other) => {
      if (other === app || this.placed(other) === 0) return false;
      return owned === 0 || (this.placed(other) - 1) / weight(other) >= mine;
    });
    const offers = owing
      .flatMap((other) => this.#offer(other, this.now - shareAfterMs) ?? [])
      .filter(({ from, usedAt }) => {
        const isOnly = this.placed(from) === 1 && usedAt + 100 > this.now;
        return !isOnly || arrivedAt + 1.5 * shareAfterMs <= this.now;
      })
      .toSorted((a, b) => a.usedAt - b.usedAt)
      .toSorted(
        (a, b) => this.placed(b.from) / weight(b.from) - this.placed(a.from) / weight(a.from),
      );
    offers[0]?.take();
    return offers.length > 0;
  }

  /** What frees a place of an application, and when that was used last. */
  #offer(from: App, since: number): { from: App; usedAt: number; take: () => void } | undefined {
    const { max } = this.limits;
    const planned = this.planned().findLast(({ app }) => app === from);
    if (planned !== undefined && planned.sinceAt <= since) {
      return { from, usedAt: planned.sinceAt, take: () => this.removeSpawn(planned) };
    }
    const old = this.pooled(from).filter(({ readyAt }) => readyAt <= since);
    const instance = best(old.filter(isFree)) ?? best(old);
    const isIdle = instance !== undefined && taken(instance) === 0;
    const unplaced = this.spawns.length - this.placedSpawns().length;
    const spawn = this.begun()
      .filter(({ app, isPlaced, sinceAt }) => app === from && isPlaced && sinceAt <= since)
      .toSorted(
        (a, b) => Number(isOutdated(b)) - Number(isOutdated(a)) || (a.id ?? 0) - (b.id ?? 0),
      )[0];
    if (!isIdle && spawn !== undefined && unplaced < max) {
      return { from, usedAt: spawn.sinceAt, take: () => void (spawn.isPlaced = false) };
    }
    if (instance === undefined || (!isIdle && !this.#mayLeave())) return undefined;
    const isUnseen = this.sessionsOf(instance).some(this.isUnasked);
    const usedAt = isUnseen || instance.usedAt + 100 > this.now ? this.now : instance.usedAt;
    return { from, usedAt, take: () => this.#evict(instance) };
  }

  /** Room for an instance whose place another has. */
  protected findRoom(app: App): boolean {
    const { max } = this.limits;
    if (this.allPlaces() < max) return true;
    const [idle] = this.idle();
    if (this.line(app).length === 0 || this.allPlaces() > max) return false;
    if (this.options.shareAfterMs !== undefined) return this.#takeUseless();
    if (idle === undefined) return false;
    this.letGo(idle, "evicted");
    return true;
  }

  /** Whether an instance that left for another has the time of its abandoned requests. */
  protected hasTime({ standing, reason }: ModelInstance): boolean {
    const isShared = this.options.shareAfterMs !== undefined;
    return isShared && standing === "leaving" && reason === "evicted";
  }

  /** Whether an instance out of the pool has a session, or the time to be done with one. */
  protected isStillThere(instance: ModelInstance): boolean {
    if (instance.sessions.length > 0) return true;
    return this.hasTime(instance) && closingOf(instance) > 0 && instance.lookAt < Infinity;
  }

  protected plan(get: ModelGet): true {
    const { app, options } = get;
    this.spawns.push({
      id: undefined,
      app,
      options,
      beganAt: 0,
      begunAtMs: 0,
      sinceAt: this.now,
      isPlaced: true,
      hasSlot: false,
      servesBefore: Infinity,
    });
    return true;
  }

  protected letGo(instance: ModelInstance, reason: RetireReason): void {
    this.instances = this.instances.filter((other) => other !== instance);
    this.say("retire", instance.id, reason);
  }
}

/** Whether it is out of the pool for abandoned requests alone. */
export function isFinishing({ standing, sessions }: ModelInstance): boolean {
  return standing === "leaving" && sessions.length === 0;
}
