/**
 * The pool: which get is served by which instance, who is spawned and who let go (PROTOCOL.md,
 * sections 6, 7 and 10). Events in, effects out: no I/O, no clock. Each method is one event at the
 * time `now`, changes the state, lets settle.ts draw the consequences and returns what the driver
 * has to do, in order. Rules for the driver:
 *
 * - Perform effects in the order in which they come. What performing one leads to may be reported
 *   at once; its effects come after those still to be performed. So a grant may turn out to be of a
 *   get that was withdrawn meanwhile (`cancel` was too late): close its session.
 * - Every `spawn` is answered by one `spawned` or `spawnFailed`, every `grant` by one
 *   `sessionClosed`, `sessionUnused` or `connectFailed`; an instance may be reported dead once,
 *   from `spawned` until its `retire`.
 * - A `recall` is passed on; what its client answers is reported by `sessionClosed` or
 *   `sessionKept`.
 * - Call `tick` at `nextDeadline()`, or a little later.
 *
 * An id that is not (or no longer) known is a mistake of the driver and throws; nothing has changed
 * then. A `now` before the last one counts as the last one.
 */

import type { AppRequest } from "../wire/app-request.ts";
import type { ByteString } from "../wire/bytes.ts";
import { MAX_CONCURRENCY } from "../wire/instance-protocol.ts";
import { reap, reconsider } from "./ahead.ts";
import type { ApplicationRecord, NewInstance, SessionRecord, Spawn } from "./application.ts";
import { die } from "./deaths.ts";
import { arrive, refuseOverdue, requestRestart } from "./gets.ts";
import {
  checkedLimits,
  checkedSettings,
  checkOptions,
  DEFAULT_LIMITS,
  requireWhole,
} from "./checks.ts";
import { lengthen, report } from "./closing.ts";
import { abandon, giveUpOverdue } from "./overdue.ts";
import { giveUp } from "./finishing.ts";
import { close, moveElsewhere, returnToLine, withdraw } from "./sessions.ts";
import { dropAboveMax, nextDeadline, settle, settleAll, shedIdle } from "./settle.ts";
import { takeSnapshot } from "./snapshot.ts";
import { becomeReady, fail, serveOn, takeOver } from "./spawns.ts";
import { PoolState } from "./state.ts";
import { countRequests, wearOut, wearOutOld } from "./worn.ts";
import type {
  ApplicationSettings,
  Effect,
  GetRequest,
  InstanceId,
  PoolLimits,
  PoolOptions,
  PoolSnapshot,
  SessionId,
  SpawnFailure,
  SpawnId,
  WaiterId,
} from "./types.ts";

type Effects = readonly Effect[];

export class Pool {
  /** All that it knows: also for tests, which look for contradictions in it. */
  readonly state: PoolState;

  constructor(options: PoolOptions, limits: Partial<PoolLimits> = {}) {
    checkOptions(options);
    this.state = new PoolState(checkedLimits({ ...DEFAULT_LIMITS, ...limits }), options);
  }

  get limits(): PoolLimits {
    return this.state.limits;
  }

  /** Instances in the pool: neither those being spawned nor those that have left it. */
  get count(): number {
    return this.state.count;
  }

  /** Instances in the pool with a session. */
  get active(): number {
    return this.state.active;
  }

  /** The instance of a session if it may have something to report; undefined if not. */
  reporterOf(session: SessionId): InstanceId | undefined {
    const instance = this.state.sessions.get(session)?.instance;
    return instance !== undefined && instance.undone > 0 ? instance.id : undefined;
  }

  /** Whether restart.txt of an application is to be looked at before a `get`. */
  hasInstances(root: ByteString, now: number): boolean {
    const application = this.state.applications.get(root);
    if (application === undefined) return false;
    return application.count > 0 || application.failures.isPaused(now);
  }

  /**
   * A client wants an instance. `waiter` names the get in the grant or refusal that follows, in
   * these effects or in later ones. A grant is for one try to connect: after `connectFailed`
   * another follows, or the refusal.
   */
  get(request: GetRequest, now: number): { waiter: WaiterId; effects: Effects } {
    const { state } = this;
    requireWhole("expectedConcurrency", request.expectedConcurrency, 1, MAX_CONCURRENCY);
    requireWhole("instances", request.instances ?? 0, 0);
    this.#advance(now);
    const { id, application } = arrive(state, request);
    settle(state, application);
    if (state.waiters.get(id) !== undefined) state.counters.waits++;
    return { waiter: id, effects: state.takeEffects() };
  }

  /** The client does not want what it asked for any more. If it was answered, nothing happens. */
  cancel(waiter: WaiterId, now: number): Effects {
    const { state } = this;
    const found = state.waiters.get(waiter);
    if (found === undefined) {
      if (waiter >= 0 && waiter < state.nextWaiter) return [];
      throw new Error(`pool: cancel of get ${waiter}: there was no such get`);
    }
    this.#advance(now);
    state.counters.cancels++;
    state.dequeue(found);
    return this.#settled(found.application);
  }

  /** A spawn has succeeded; `instance` is its name from now on, in these effects too. */
  spawned(
    spawn: SpawnId,
    ready: NewInstance,
    now: number,
  ): { instance: InstanceId; effects: Effects } {
    const { state } = this;
    const found = this.#spawn(spawn, "spawned");
    requireWhole("concurrency", ready.concurrency, 1, MAX_CONCURRENCY);
    this.#advance(now);
    const isReplacement = state.replacements.has(spawn);
    const { id, application } = (isReplacement ? takeOver : becomeReady)(state, found, ready);
    settle(state, application);
    return { instance: id, effects: state.takeEffects() };
  }

  /** A spawn has failed. Its gets are refused with `failure`. */
  spawnFailed(spawn: SpawnId, failure: SpawnFailure, now: number): Effects {
    const { state } = this;
    const found = this.#spawn(spawn, "spawnFailed");
    this.#advance(now);
    (state.replacements.has(spawn) ? serveOn : fail)(state, found, failure);
    return this.#settled(found.application);
  }

  /** A session that was connected is over, or its client gone. */
  sessionClosed(session: SessionId, now: number): Effects {
    return this.#change(session, "sessionClosed", now, close);
  }

  /** A session is over that was never connected: its instance knows nothing of it. */
  sessionUnused(session: SessionId, now: number): Effects {
    return this.#change(session, "sessionUnused", now, withdraw);
  }

  /** An instance is done with so many connected sessions, closed or not; each is reported once. */
  sessionsDone(instance: InstanceId, sessions: number, now: number): Effects {
    const { state } = this;
    const found = state.instances.get(instance);
    const undone = found?.undone ?? 0;
    if (found === undefined || sessions > undone || sessions < 1) {
      const why = `it has ${undone} that it may be done with`;
      throw new Error(`pool: sessionsDone of ${sessions} of instance ${instance}: ${why}`);
    }
    this.#advance(now);
    report(state, found, sessions);
    return this.#settled(found.application);
  }

  /**
   * The client of a session closes it before its request is over (`what` says which it was): its
   * instance has the application's time to be done with it. @param isLate no time is left.
   */
  sessionAbandoned(session: SessionId, what: string, isLate: boolean, now: number): Effects {
    return this.#change(session, "sessionAbandoned", now, (state, found) => {
      abandon(state, found, what, isLate);
    });
  }

  /** A session lasts: it keeps its instance from being idle, and takes no place any more. */
  sessionLong(session: SessionId, now: number): Effects {
    return this.#change(session, "sessionLong", now, lengthen);
  }

  /**
   * The client of a kept session needs it for the request at hand, and closes it then: the answer
   * to `recall`. Unasked, or too late, it is ignored.
   */
  sessionKept(session: SessionId, now: number): Effects {
    return this.#change(session, "sessionKept", now, ({ kept }, found) => kept.answeredKeep(found));
  }

  /**
   * The instance of a new session cannot be connected to: it leaves the pool. The get is granted
   * another now or later, or refused with `cause` after ten tries.
   */
  connectFailed(session: SessionId, cause: string, now: number): Effects {
    return this.#change(session, "connectFailed", now, (state, found) => {
      returnToLine(state, found, cause);
    });
  }

  /**
   * The backlog of a new session's instance is full: moves the session to another instance of the
   * application that this get has not tried, the best there is, even a busy one. Undefined: there
   * is none, the session stays.
   */
  alternative(
    session: SessionId,
    now: number,
  ): { instance: InstanceId | undefined; effects: Effects } {
    const { state } = this;
    const found = this.#session(session, "alternative");
    this.#advance(now);
    const { application } = found.instance;
    const other = moveElsewhere(state, found);
    settle(state, application);
    return { instance: other?.id, effects: state.takeEffects() };
  }

  /** The process is gone. Its open sessions stay open until they are closed. */
  instanceDied(
    instance: InstanceId,
    now: number,
    reason: "died" | "outOfMemory" = "died",
  ): Effects {
    const { state } = this;
    const found = state.instances.get(instance);
    if (found === undefined || found.standing === "dead") {
      const why = found === undefined ? "there is no such instance" : "it has died already";
      throw new Error(`pool: instanceDied of instance ${instance}: ${why}`);
    }
    this.#advance(now);
    die(state, found, reason);
    return this.#settled(found.application);
  }

  /** Changes limits. Lowering max lets idle instances go at once, busy ones when they are done. */
  setLimits(change: Partial<PoolLimits>, now: number): Effects {
    const { state } = this;
    const limits = checkedLimits({ ...state.limits, ...change });
    this.#advance(now);
    state.limits = limits;
    const all = new Set(state.applications.values());
    for (const application of all) reconsider(state, application);
    shedIdle(state);
    dropAboveMax(state);
    settleAll(state, all);
    return state.takeEffects();
  }

  /**
   * Sets the options of one application: what is left out has its default again.
   * @param options for spawns that no get is for; without them nothing is spawned before a get.
   */
  configure(
    root: ByteString,
    settings: ApplicationSettings,
    now: number,
    options?: AppRequest,
  ): Effects {
    const { state } = this;
    const checked = checkedSettings(settings);
    this.#advance(now);
    const application = state.application(root);
    application.settings = checked;
    // Instances from now on may serve another number of sessions at once.
    application.lastConcurrency = undefined;
    if (options !== undefined) application.options = options;
    state.maybeEmpty.push(application);
    reconsider(state, application);
    return this.#settled(application);
  }

  /** The code of an application has changed: as a get that finds a restart.txt. */
  restart(root: ByteString, now: number): Effects {
    const { state } = this;
    const application = state.applications.get(root);
    if (application === undefined) return [];
    this.#advance(now);
    state.maybeEmpty.push(application);
    requestRestart(state, application);
    return this.#settled(application);
  }

  /** Clients have sent so many more requests over a session. */
  sessionServed(session: SessionId, requests: number, now: number): Effects {
    return this.#change(session, "sessionServed", now, (state, { instance }) => {
      countRequests(state, instance, requests);
    });
  }

  /** An instance uses more memory than it may. @param isHard it is not to go on. */
  instanceGrown(instance: InstanceId, isHard: boolean, now: number): Effects {
    const { state } = this;
    const found = state.instances.get(instance);
    if (found === undefined) return [];
    this.#advance(now);
    if (isHard) giveUp(state, found, "large");
    else wearOut(state, found, "memory");
    return this.#settled(found.application);
  }

  /** An instance leaves the pool, and goes when its sessions have ended. */
  detach(instance: InstanceId, now: number): Effects {
    const found = this.state.instances.get(instance);
    if (found?.standing !== "pooled") return [];
    this.#advance(now);
    this.state.leave(found, "leaving", "detached");
    return this.#settled(found.application);
  }

  /** All instances leave the pool, or those of one application; open sessions go on. */
  clear(now: number, root?: ByteString): Effects {
    const { state } = this;
    this.#advance(now);
    state.counters.clears++;
    const one = root === undefined ? undefined : state.applications.get(root);
    const all = new Set(root === undefined ? state.applications.values() : one && [one]);
    for (const application of all) state.outdate(application, "cleared");
    settleAll(state, all);
    return state.takeEffects();
  }

  /**
   * Does what is due: refuses gets that have waited too long, gives instances up whose requests
   * take too long, lets those go that were idle too long.
   */
  tick(now: number): Effects {
    const { state } = this;
    this.#advance(now);
    const touched = new Set<ApplicationRecord>();
    refuseOverdue(state, touched);
    giveUpOverdue(state, touched);
    reap(state, touched);
    wearOutOld(state);
    settleAll(state, touched);
    return state.takeEffects();
  }

  /** When `tick` is to be called next; undefined: not before another event. */
  nextDeadline(): number | undefined {
    return nextDeadline(this.state);
  }

  /** Everything, for people and tools; costs time in proportion to all there is. */
  snapshot(now: number): PoolSnapshot {
    return takeSnapshot(this.state, Math.max(now, this.state.now));
  }

  #change(
    id: SessionId,
    event: string,
    now: number,
    change: (state: PoolState, session: SessionRecord) => void,
  ): Effects {
    const session = this.#session(id, event);
    this.#advance(now);
    change(this.state, session);
    return this.#settled(session.instance.application);
  }

  #settled(application: ApplicationRecord): Effects {
    settle(this.state, application);
    return this.state.takeEffects();
  }

  #advance(now: number): void {
    if (now > this.state.now) this.state.now = now;
    else if (Number.isNaN(now)) throw new Error("pool: the time is not a number");
  }

  #spawn(id: SpawnId, event: string): Spawn {
    const spawn = this.state.begun.get(id) ?? this.state.replacements.get(id);
    if (spawn !== undefined) return spawn;
    throw new Error(`pool: ${event} of spawn ${id}: no such spawn is under way`);
  }

  #session(id: SessionId, event: string): SessionRecord {
    const session = this.state.sessions.get(id);
    if (session !== undefined) return session;
    throw new Error(`pool: ${event} of session ${id}: no such session is open`);
  }
}
