/**
 * The pool's state and the elementary changes to it. Each change keeps every list and sum in
 * agreement (test/pool/invariants.ts says what that is) and records its effect; which change is due
 * is decided in settle.ts and pool.ts.
 */

import type { ByteString } from "../wire/bytes.ts";
import { IdTable } from "../wire/id-table.ts";
import {
  ApplicationRecord,
  InstanceRecord,
  type NewInstance,
  SessionRecord,
  Spawn,
  type Standing,
  Waiter,
} from "./application.ts";
import { reapLater } from "./ahead.ts";
import { promise, promisedBy, promiseNothing } from "./closing.ts";
import type { Counters } from "./counters.ts";
import { countLeaving, forgetOverdue, hasTime, limitUpgraded } from "./finishing.ts";
import { Heap, HeapEntry } from "./heap.ts";
import { KeptSessions } from "./kept.ts";
import { List } from "./list.ts";
import { limitTime } from "./overdue.ts";
import { SpawnState } from "./spawn-state.ts";
import type {
  InstanceId,
  PoolLimits,
  PoolOptions,
  GetRefusal,
  RetireReason,
  SessionId,
  WaiterId,
} from "./types.ts";

/** By how much the counts of an instance's sessions change. */
interface Shift {
  readonly open: number;
  readonly undone: number;
  readonly long?: number;
}

export class PoolState extends SpawnState {
  limits: PoolLimits;
  readonly applications = new Map<ByteString, ApplicationRecord>();
  readonly instances = new Map<InstanceId, InstanceRecord>();
  readonly sessions = new IdTable<SessionId, SessionRecord>();
  /** Only those that wait. */
  readonly waiters = new IdTable<WaiterId, Waiter>();
  /** When it was looked last who has less than his share. */
  lookedForSharesMs = -Infinity;
  count = 0;
  /** Of those, the ones that are not idle, and the ones that clients have sessions of. */
  busy = 0;
  active = 0;
  /** Instances out of the pool that still serve; of those, the ones without an open session. */
  leaving = 0;
  finishing = 0;
  /** Instances without a session, idle longest first. */
  readonly idle = new List<InstanceRecord>();
  /** Instances in the pool that have just not said `done` yet, by the time of the `close`. */
  readonly closingSoon = new List<InstanceRecord>();
  /** Applications with a get no spawn is for, by its id: those with nothing (they may evict) ... */
  readonly bare = new Heap<ApplicationRecord>();
  /** ... and those with an instance in the pool or on its way. */
  readonly seeded = new Heap<ApplicationRecord>();
  readonly deadlines = new Heap<Waiter>();
  /** Applications with worn instances, in the order in which they got them. */
  readonly wearing = new Set<ApplicationRecord>();
  /** Instances by when they are as old as they may be; out of the pool: their upgraded sessions. */
  readonly ages = new Heap<InstanceRecord>();
  /** Applications by when an instance of theirs may have been idle for too long. */
  readonly reaps = new Heap<ApplicationRecord>();
  /** Ends of pauses, and of the memory of failures. */
  readonly alarms = new Heap<ApplicationRecord>();
  /** In the order in which they were asked for. */
  readonly pendingRestarts = new Set<ApplicationRecord>();
  /** Instances with sessions that were given up, by when they are to be looked at. */
  readonly overdue = new Heap<InstanceRecord>();
  /** Open sessions by when they have been so for too long. */
  readonly timeLimits = new Heap<SessionRecord>();
  /** Ends of the time for which gets put off spawning and sharing, by application. */
  readonly holds = new Heap<ApplicationRecord>();
  readonly kept = new KeptSessions(this);
  /** Grants by preference so far. */
  choices = 0;
  #nextInstance = 0;
  #nextSession = 0;

  constructor(limits: PoolLimits, options: PoolOptions) {
    super(options);
    this.limits = limits;
  }

  /** Spawns that have a place. */
  get spawning(): number {
    return this.planned.size + this.begun.size - this.unplaced;
  }

  /** What max is compared with: instances and those that are to be. */
  get places(): number {
    return this.count + this.spawning;
  }

  application(root: ByteString): ApplicationRecord {
    let application = this.applications.get(root);
    if (application === undefined) {
      application = new ApplicationRecord(root);
      this.applications.set(root, application);
    }
    return application;
  }

  /** Places the application may have; waiting and being refused are up to others. */
  limitOf(application: ApplicationRecord): number {
    const { instances, settings } = application;
    const { maxInstances = Infinity } = settings;
    return Math.min(this.limits.maxPerApp || Infinity, instances || Infinity, maxInstances);
  }

  maxIdleOf(application: ApplicationRecord): number {
    return application.settings.maxIdleMs ?? this.limits.maxIdleMs;
  }

  enqueue(waiter: Waiter): void {
    waiter.application.line.add(waiter);
    this.waiters.add(waiter);
    if (this.options.maxWaitMs === 0) return;
    waiter.deadline ??= new HeapEntry<Waiter>(waiter);
    this.deadlines.set(waiter.deadline, waiter.arrivedMs + this.options.maxWaitMs);
  }

  dequeue(waiter: Waiter): void {
    this.waiters.delete(waiter.id);
    waiter.application.line.remove(waiter);
    if (waiter.deadline !== undefined) this.deadlines.remove(waiter.deadline);
    this.maybeEmpty.push(waiter.application);
  }

  /** Answers a get that does not wait (any more). @param why as it is counted. */
  refuse(waiter: Waiter, why: keyof Counters["refusals"], refusal: GetRefusal): void {
    this.counters.refusals[why]++;
    this.maybeEmpty.push(waiter.application);
    this.effects.push({ kind: "refuse", waiter: waiter.id, refusal });
  }

  /** Opens a session for a get that does not wait (any more). */
  grant(waiter: Waiter, instance: InstanceRecord): void {
    const session = new SessionRecord(this.#nextSession++ as SessionId, waiter, instance, this.now);
    this.sessions.add(session);
    this.counters.grants++;
    if (instance.load >= instance.concurrency) this.counters.grantsOfBusy++;
    this.shift(instance, { open: 1, undone: 1 });
    this.effects.push({
      kind: "grant",
      waiter: waiter.id,
      session: session.id,
      instance: instance.id,
    });
    if (waiter.kept) this.kept.opened(session);
    else limitTime(this, session);
  }

  /** A spawn has succeeded. */
  newInstance({ application }: Spawn, ready: NewInstance): InstanceRecord {
    this.tally("spawnsDone", application);
    const id = this.#nextInstance++ as InstanceId;
    const instance = new InstanceRecord(id, ready, application, this.now);
    this.instances.set(id, instance);
    return instance;
  }

  /** Moves an instance into the pool, or out of it. With `shift` the only ways into a list. */
  move(instance: InstanceRecord, standing: Standing): void {
    const { application } = instance;
    this.#take(instance);
    instance.standing = standing;
    if (standing === "pooled") {
      this.limitAge(instance);
    } else {
      promiseNothing(instance);
      this.unwear(instance);
      if (instance.age !== undefined) this.ages.remove(instance.age);
      if (standing !== "leaving") forgetOverdue(this, instance);
      this.fallShort(application);
    }
    this.#put(instance);
    if (instance.keeping !== undefined) this.kept.refile(instance.keeping, true);
  }

  /** An instance was used: what its sessions have become more or fewer by. */
  shift(instance: InstanceRecord, { open, undone, long = 0 }: Shift): void {
    this.#take(instance);
    instance.lastUsedMs = this.now;
    instance.open += open;
    instance.long += long;
    if (instance.reportsDone) {
      instance.undone += undone;
      if (instance.closing === 0) promiseNothing(instance);
      else if (open < undone && instance.standing === "pooled") promise(this, instance);
    }
    this.#put(instance);
    if (instance.keeping !== undefined) this.kept.refile(instance.keeping, true);
  }

  /** Takes an instance out of the pool; it goes at once, or when its last session has ended. */
  leave(instance: InstanceRecord, standing: "leaving" | "dead", reason: RetireReason): void {
    const wasPooled = instance.standing === "pooled";
    instance.reason = reason;
    this.move(instance, standing);
    limitUpgraded(this, instance);
    if (wasPooled) this.kept.left(instance);
    this.retireIfDone(instance);
  }

  /**
   * Lets an instance go that is out of the pool when no client has a session of it any more: what
   * it is not done with is its own business then, within the time that it has to leave. One whose
   * place another was given has the time of its abandoned requests.
   */
  retireIfDone(instance: InstanceRecord): void {
    if (instance.standing === "pooled" || instance.open > 0 || hasTime(this, instance)) return;
    this.move(instance, "retired");
    this.instances.delete(instance.id);
    this.counters.retirements[instance.reason]++;
    this.maybeEmpty.push(instance.application);
    this.effects.push({ kind: "retire", instance: instance.id, reason: instance.reason });
  }

  /** An instance is not to be replaced any more. */
  unwear(instance: InstanceRecord): void {
    if (instance.worn === undefined) return;
    instance.worn = undefined;
    instance.application.worn--;
  }

  /** Sets when an instance will be as old as it may be. */
  limitAge(instance: InstanceRecord): void {
    const { maxAgeMs = 0 } = instance.application.settings;
    if (maxAgeMs > 0) {
      instance.age ??= new HeapEntry<InstanceRecord>(instance);
      this.ages.set(instance.age, instance.readyMs + maxAgeMs);
    } else if (instance.age !== undefined) {
      this.ages.remove(instance.age);
    }
  }

  /** A restart or clear: all instances leave, and spawns under way do not count for later gets. */
  outdate(application: ApplicationRecord, reason: "restarted" | "cleared"): void {
    for (const instance of application.available) this.leave(instance, "leaving", reason);
    for (const instance of application.full) this.leave(instance, "leaving", reason);
    this.outdateSpawns(application);
  }

  /** Counts an event of an application, among its own and those of all. */
  tally(event: "spawnsDone" | "spawnsFailed" | "deaths" | "restarts", of: ApplicationRecord): void {
    this.counters[event]++;
    of.counters[event]++;
  }

  #take(instance: InstanceRecord): void {
    const { application } = instance;
    if (instance.standing === "pooled") {
      this.count--;
      application.promised -= instance.promised;
      if (instance.load < instance.concurrency) application.available.remove(instance.order);
      else application.full.remove(instance.order);
      if (instance.open > 0) this.active--;
      if (instance.sessions === 0) {
        this.idle.remove(instance.idle);
        application.idle.remove(instance.idleHere);
      } else {
        this.busy--;
        application.busy--;
      }
    } else if (instance.standing === "leaving" || instance.standing === "dead") {
      application.outside.remove(instance.order);
      countLeaving(this, instance, -1);
    }
  }

  #put(instance: InstanceRecord): void {
    const { application, sessions, load } = instance;
    if (instance.standing === "pooled") {
      this.count++;
      instance.promised = promisedBy(instance);
      application.promised += instance.promised;
      if (load < instance.concurrency) application.available.add(instance.order, load);
      else application.full.add(instance.order, load);
      if (sessions === 0) {
        this.idle.pushBack(instance.idle);
        application.idle.pushBack(instance.idleHere);
        if (application.reap.heap === undefined) reapLater(this, application);
      } else {
        this.busy++;
        application.busy++;
      }
      if (instance.open > 0) this.active++;
      if (this.active > this.counters.peakActive) this.counters.peakActive = this.active;
      if (this.count > this.counters.peakCount) this.counters.peakCount = this.count;
    } else if (instance.standing === "leaving" || instance.standing === "dead") {
      application.outside.pushBack(instance.order);
      countLeaving(this, instance, 1);
    }
  }
}
