/**
 * The pool's state and the elementary changes to it. Each change keeps every list and sum in
 * agreement (test/pool/invariants.ts says what that is) and records its effect; which change is due
 * is decided in settle.ts and pool.ts.
 */

import type { ByteString } from "../wire/bytes.ts";
import {
  ApplicationRecord,
  InstanceRecord,
  type NewInstance,
  SessionRecord,
  Spawn,
  type Standing,
  Waiter,
} from "./application.ts";
import { promise, promisedBy, promiseNothing } from "./closing.ts";
import { newCounters } from "./counters.ts";
import { countLeaving, hasTime } from "./finishing.ts";
import { Heap, HeapEntry } from "./heap.ts";
import { KeptSessions } from "./kept.ts";
import { limitTime } from "./overdue.ts";
import { List } from "./list.ts";
import type {
  Effect,
  InstanceId,
  Overrun,
  PoolLimits,
  PoolOptions,
  GetRefusal,
  RetireReason,
  SessionId,
  SpawnId,
  WaiterId,
} from "./types.ts";

/** Shared by all events without effects, which the closing of a session usually is. */
const NO_EFFECTS: readonly never[] = Object.freeze([]);

/** A slot more counts for more than any place in the order of planning; sums stay exact. */
const SLOT_WEIGHT = 2 ** 40;

/** By how much the counts of an instance's sessions change. */
interface Shift {
  readonly open: number;
  readonly undone: number;
  readonly long?: number;
}

export class PoolState<O> {
  limits: PoolLimits;
  readonly options: PoolOptions;
  readonly applications = new Map<ByteString, ApplicationRecord<O>>();
  readonly instances = new Map<InstanceId, InstanceRecord<O>>();
  readonly sessions = new Map<SessionId, SessionRecord<O>>();
  /** Only those that wait. */
  readonly waiters = new Map<WaiterId, Waiter<O>>();
  /** Spawns that have begun, outdated ones included. */
  readonly begun = new Map<SpawnId, Spawn<O>>();
  /** In the order of planning. */
  readonly planned = new List<Spawn<O>>();
  /** Spawns that hold a slot, oldest first. */
  readonly slots = new List<Spawn<O>>();
  /** Spawns that have a place and had a slot for so long that they may hang, oldest first. */
  readonly slow = new List<Spawn<O>>();
  /** Spawns under way whose places others have. */
  unplaced = 0;
  /** When it was looked last who has less than his share. */
  lookedForSharesMs = -Infinity;
  /** Applications with a planned spawn: fewest slots first, then first planned. */
  readonly turns = new Heap<ApplicationRecord<O>>();
  outdatedSpawns = 0;
  count = 0;
  /** Of those, the ones that are not idle, and the ones that clients have sessions of. */
  busy = 0;
  active = 0;
  /** Instances out of the pool that still serve; of those, the ones without an open session. */
  leaving = 0;
  finishing = 0;
  /** Instances without a session, idle longest first. */
  readonly idle = new List<InstanceRecord<O>>();
  /** Instances in the pool that have just not said `done` yet, by the time of the `close`. */
  readonly closingSoon = new List<InstanceRecord<O>>();
  /**
   * Applications with a get no spawn is for, by that get's id: those with nothing (they may evict)
   * ...
   */
  readonly bare = new Heap<ApplicationRecord<O>>();
  /** ... and those with an instance in the pool or on its way. */
  readonly seeded = new Heap<ApplicationRecord<O>>();
  readonly deadlines = new Heap<Waiter<O>>();
  /** Ends of pauses, and of the memory of failures. */
  readonly alarms = new Heap<ApplicationRecord<O>>();
  /** In the order in which they were asked for. */
  readonly pendingRestarts = new Set<ApplicationRecord<O>>();
  /** Applications that may have nothing left, looked at when the event is over. */
  readonly maybeEmpty = new Set<ApplicationRecord<O>>();
  /** Instances with sessions that were given up, by when they are to be looked at. */
  readonly overdue = new Heap<InstanceRecord<O>>();
  /** Open sessions by when they have been so for too long. */
  readonly timeLimits = new Heap<SessionRecord<O>>();
  /** Ends of the time for which gets put off spawning and sharing, by application. */
  readonly holds = new Heap<ApplicationRecord<O>>();
  readonly counters = newCounters();
  readonly kept = new KeptSessions<O>(this.counters, (session) => {
    this.#effects.push({ kind: "recall", session });
  });
  nextWaiter = 0;
  /** Grants by preference so far. */
  choices = 0;
  #nextInstance = 0;
  #nextSpawn = 0;
  #nextSession = 0;
  #effects: Effect<O>[] = [];

  constructor(limits: PoolLimits, options: PoolOptions) {
    this.limits = limits;
    this.options = options;
  }

  /** Spawns that have a place. */
  get spawning(): number {
    return this.planned.size + this.begun.size - this.unplaced;
  }

  /** What max is compared with: instances and those that are to be. */
  get places(): number {
    return this.count + this.spawning;
  }

  takeEffects(): readonly Effect<O>[] {
    if (this.#effects.length === 0) return NO_EFFECTS;
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  application(root: ByteString): ApplicationRecord<O> {
    let application = this.applications.get(root);
    if (application === undefined) {
      application = new ApplicationRecord<O>(root);
      this.applications.set(root, application);
    }
    return application;
  }

  /** Places the application may have; waiting and being refused are up to others. */
  limitOf(application: ApplicationRecord<O>): number {
    const { instances, maxInstances = Infinity } = application;
    return Math.min(this.limits.maxPerApp || Infinity, instances || Infinity, maxInstances);
  }

  enqueue(waiter: Waiter<O>): void {
    waiter.application.line.add(waiter);
    this.waiters.set(waiter.id, waiter);
    if (this.options.maxWaitMs === 0) return;
    waiter.deadline ??= new HeapEntry<Waiter<O>>(waiter);
    this.deadlines.set(waiter.deadline, waiter.arrivedMs + this.options.maxWaitMs);
  }

  dequeue(waiter: Waiter<O>): void {
    this.waiters.delete(waiter.id);
    waiter.application.line.remove(waiter);
    if (waiter.deadline !== undefined) this.deadlines.remove(waiter.deadline);
    this.maybeEmpty.add(waiter.application);
  }

  /** Answers a get that does not wait (any more). */
  refuse(waiter: Waiter<O>, refusal: GetRefusal): void {
    this.maybeEmpty.add(waiter.application);
    this.#effects.push({ kind: "refuse", waiter: waiter.id, refusal });
  }

  /** Opens a session for a get that does not wait (any more). */
  grant(waiter: Waiter<O>, instance: InstanceRecord<O>, now: number): void {
    const session = new SessionRecord<O>(this.#nextSession++ as SessionId, waiter, instance, now);
    this.sessions.set(session.id, session);
    this.counters.grants++;
    if (instance.load >= instance.concurrency) this.counters.grantsOfBusy++;
    this.shift(instance, { open: 1, undone: 1 }, now);
    this.#effects.push({
      kind: "grant",
      waiter: waiter.id,
      session: session.id,
      instance: instance.id,
    });
    if (waiter.kept) this.kept.opened(session, now);
    else limitTime(this, session, now);
  }

  newInstance(spawn: Spawn<O>, ready: NewInstance, now: number): InstanceRecord<O> {
    const id = this.#nextInstance++ as InstanceId;
    const instance = new InstanceRecord<O>(id, ready, spawn.application, now);
    this.instances.set(id, instance);
    return instance;
  }

  /** Moves an instance into the pool, or out of it. With `shift` the only ways into a list. */
  move(instance: InstanceRecord<O>, standing: Standing): void {
    this.#take(instance);
    instance.standing = standing;
    if (standing !== "pooled") promiseNothing(instance);
    this.#put(instance);
    if (instance.keeping !== undefined) this.kept.refile(instance.keeping, true);
  }

  /** An instance was used: what its sessions have become more or fewer by. */
  shift(instance: InstanceRecord<O>, { open, undone, long = 0 }: Shift, now: number): void {
    this.#take(instance);
    instance.lastUsedMs = now;
    instance.open += open;
    instance.long += long;
    if (instance.reportsDone) {
      instance.undone += undone;
      if (instance.closing === 0) promiseNothing(instance);
      else if (open < undone && instance.standing === "pooled") promise(this, instance, now);
    }
    this.#put(instance);
    if (instance.keeping !== undefined) this.kept.refile(instance.keeping, true);
  }

  /** Takes an instance out of the pool; it goes at once, or when its last session has ended. */
  leave(
    instance: InstanceRecord<O>,
    standing: "leaving" | "dead",
    reason: RetireReason,
    now: number,
  ): void {
    const wasPooled = instance.standing === "pooled";
    instance.reason = reason;
    this.move(instance, standing);
    if (wasPooled) this.kept.left(instance, now);
    if (standing === "dead" && instance.overdue !== undefined) {
      this.overdue.remove(instance.overdue.turn);
    }
    this.retireIfDone(instance);
  }

  /**
   * Lets an instance go that is out of the pool when no client has a session of it any more: what
   * it is not done with is its own business then, within the time that it has to leave. One whose
   * place another was given has the time of its abandoned requests.
   */
  retireIfDone(instance: InstanceRecord<O>): void {
    if (instance.standing === "pooled" || instance.open > 0 || hasTime(this, instance)) return;
    this.move(instance, "retired");
    if (instance.overdue !== undefined) this.overdue.remove(instance.overdue.turn);
    this.instances.delete(instance.id);
    this.counters.retirements[instance.reason]++;
    this.maybeEmpty.add(instance.application);
    this.#effects.push({ kind: "retire", instance: instance.id, reason: instance.reason });
  }

  /** The process of an instance is to be ended whatever it is doing. */
  endProcess(instance: InstanceId, overrun: Overrun, what: string | undefined): void {
    this.#effects.push({ kind: "giveUp", instance, overrun, what });
  }

  /** Takes a place for a new instance. */
  plan(application: ApplicationRecord<O>, options: O, now: number): void {
    const spawn = new Spawn<O>(application, options, this.counters.spawnsPlanned++, now);
    this.planned.pushBack(spawn.turn);
    application.planned.pushBack(spawn.order);
    this.#queueForSlot(application);
  }

  /** Gives a planned spawn up, and its place. */
  drop(spawn: Spawn<O>): void {
    this.planned.remove(spawn.turn);
    spawn.application.planned.remove(spawn.order);
    this.#queueForSlot(spawn.application);
    this.counters.spawnsDropped++;
    this.maybeEmpty.add(spawn.application);
  }

  /** @param hasSlot whether it takes one of the slots, or has waited for one for too long. */
  begin(spawn: Spawn<O>, hasSlot: boolean, now: number): void {
    const { application } = spawn;
    this.planned.remove(spawn.turn);
    application.planned.remove(spawn.order);
    application.begun.pushBack(spawn.order);
    if (hasSlot) {
      this.slots.pushBack(spawn.turn);
      application.slots++;
    }
    this.#queueForSlot(application);
    const id = this.#nextSpawn++ as SpawnId;
    spawn.id = id;
    spawn.sinceMs = now;
    spawn.beganAt = this.nextWaiter;
    this.begun.set(id, spawn);
    this.counters.spawnsBegun++;
    const { root } = application;
    this.#effects.push({ kind: "spawn", spawn: id, root, options: spawn.options });
  }

  /** A spawn takes so long that it may hang: it gives its slot up. */
  slowDown(spawn: Spawn<O>): void {
    this.#freeSlot(spawn);
    if (spawn.isPlaced) this.slow.pushBack(spawn.turn);
  }

  /** A spawn under way gives its place to another. */
  unplace(spawn: Spawn<O>): void {
    if (spawn.turn.list === this.slow) this.slow.remove(spawn.turn);
    spawn.isPlaced = false;
    spawn.application.unplaced++;
    this.unplaced++;
  }

  #freeSlot(spawn: Spawn<O>): void {
    if (spawn.turn.list !== this.slots) return;
    this.slots.remove(spawn.turn);
    spawn.application.slots--;
    this.#queueForSlot(spawn.application);
  }

  /** A begun spawn has ended, well or not. */
  end(spawn: Spawn<O>): void {
    this.#freeSlot(spawn);
    if (spawn.turn.list === this.slow) this.slow.remove(spawn.turn);
    if (!spawn.isPlaced) {
      this.unplaced--;
      spawn.application.unplaced--;
    }
    if (spawn.id !== undefined) this.begun.delete(spawn.id);
    if (spawn.order.list === spawn.application.outdated) this.outdatedSpawns--;
    spawn.order.list?.remove(spawn.order);
    this.maybeEmpty.add(spawn.application);
  }

  /**
   * A restart or clear: all instances leave, and spawns that have begun no longer count for later
   * gets.
   */
  outdate(application: ApplicationRecord<O>, reason: "restarted" | "cleared", now: number): void {
    for (const instance of application.available) this.leave(instance, "leaving", reason, now);
    for (const instance of application.full) this.leave(instance, "leaving", reason, now);
    for (const spawn of application.begun) {
      spawn.servesBefore = this.nextWaiter;
      application.begun.remove(spawn.order);
      application.outdated.pushBack(spawn.order);
      this.outdatedSpawns++;
    }
  }

  reload(root: ByteString): void {
    this.#effects.push({ kind: "reload", root });
  }

  #queueForSlot(application: ApplicationRecord<O>): void {
    const { planned, slots, turn } = application;
    const { first } = planned;
    if (first === undefined) this.turns.remove(turn);
    else this.turns.set(turn, slots * SLOT_WEIGHT + first.number);
  }

  #take(instance: InstanceRecord<O>): void {
    const { application } = instance;
    if (instance.standing === "pooled") {
      this.count--;
      application.promised -= instance.promised;
      if (instance.load < instance.concurrency) application.available.remove(instance.order);
      else application.full.remove(instance.order);
      if (instance.open > 0) this.active--;
      if (instance.sessions === 0) {
        this.idle.remove(instance.idle);
      } else {
        this.busy--;
        application.busy--;
      }
    } else if (instance.standing === "leaving" || instance.standing === "dead") {
      application.outside.remove(instance.order);
      countLeaving(this, instance, -1);
    }
  }

  #put(instance: InstanceRecord<O>): void {
    const { application, sessions, load } = instance;
    if (instance.standing === "pooled") {
      this.count++;
      instance.promised = promisedBy(instance);
      application.promised += instance.promised;
      if (load < instance.concurrency) application.available.add(instance.order, load);
      else application.full.add(instance.order, load);
      if (sessions === 0) {
        this.idle.pushBack(instance.idle);
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
