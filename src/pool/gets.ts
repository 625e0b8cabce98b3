/**
 * How gets enter the pool, and how they leave it unserved: arrival and the two bounds on waiting.
 */

import { toText } from "../wire/bytes.ts";
import { reconsider } from "./ahead.ts";
import { type ApplicationRecord, type InstanceRecord, Waiter } from "./application.ts";
import { planMissing } from "./places.ts";
import {
  busyAtOnce,
  isAnsweredAtOnce,
  isDue,
  restart,
  restartFits,
  slowDownLate,
} from "./settle.ts";
import { restartRolling } from "./worn.ts";
import type { PoolState } from "./state.ts";
import type { GetRequest, WaiterId } from "./types.ts";

/**
 * A get arrives: an instance that is free is its own at once, or a busy one if there is nothing to
 * wait for; otherwise it goes into line if that is not too long.
 */
export function arrive(state: PoolState, request: GetRequest): Waiter {
  const application = state.application(request.root);
  application.expectedConcurrency = request.expectedConcurrency;
  const { instances = 0 } = request;
  application.askedMs = state.now;
  if (application.instances !== instances) {
    application.instances = instances;
    reconsider(state, application);
  }
  if (application.options === undefined) state.fallShort(application);
  application.options = request.options;
  state.counters.gets++;
  slowDownLate(state);
  if (request.restart) requestRestart(state, application);
  const waiter = new Waiter(state.nextWaiter++ as WaiterId, application, request, state.now);
  // While an instance is free, nobody waits for it.
  const instance =
    chosen(state, application, request) ??
    application.available.first ??
    busyOnArrival(state, application);
  if (instance !== undefined && waiter.isChoosy) {
    grantChosen(state, waiter, instance);
  } else if (instance !== undefined) {
    state.grant(waiter, instance);
  } else if (fullQueue(state, application) > 0 && !isAnsweredAtOnce(state, application)) {
    refuseFull(state, waiter, fullQueue(state, application));
  } else {
    state.enqueue(waiter);
  }
  planMissing(state, application, request.options);
  return waiter;
}

/**
 * The instance for a get with a preference: that one while it is in the pool, busy or not; else of
 * those with a place the one that has been chosen so longest ago. Undefined: none can be.
 */
function chosen(
  state: PoolState,
  application: ApplicationRecord,
  { preference }: GetRequest,
): InstanceRecord | undefined {
  if (preference === undefined) return undefined;
  const preferred =
    preference.instance === undefined ? undefined : state.instances.get(preference.instance);
  if (preferred?.application === application && preferred.standing === "pooled") return preferred;
  let longest: InstanceRecord | undefined;
  for (const instance of application.available) {
    if (longest === undefined || instance.chosenAt < longest.chosenAt) longest = instance;
  }
  if (longest !== undefined) longest.chosenAt = ++state.choices;
  return longest;
}

/**
 * Grants an instance that may have no place: then the get waits there, as one of the application's
 * queue, and what is kept of the instance is asked for.
 */
function grantChosen(state: PoolState, waiter: Waiter, instance: InstanceRecord): void {
  const { concurrency, load, application } = instance;
  const { maxQueue = 0 } = application.settings;
  if (maxQueue > 0 && load - concurrency >= maxQueue) {
    return refuseFull(state, waiter, load - concurrency);
  }
  if (load >= concurrency && instance.keeping !== undefined) {
    state.kept.recallAll(instance.keeping);
  }
  state.grant(waiter, instance);
}

function refuseFull(state: PoolState, waiter: Waiter, gets: number): void {
  const why = `${gets === 1 ? "1 get is" : `${gets} gets are`} waiting already`;
  state.refuse(waiter, "queueFull", { kind: "busy", why });
}

/** Refuses gets that have waited too long; adds their applications to `touched`. */
export function refuseOverdue(state: PoolState, touched: Set<ApplicationRecord>): void {
  for (let due = state.deadlines.first; due !== undefined; due = state.deadlines.first) {
    if (due.key > state.now) return;
    const { application } = due.owner;
    touched.add(application);
    state.dequeue(due.owner);
    const waited = `waited ${state.options.maxWaitMs / 1000} s`;
    const why = `${waited} for an instance of '${toText(application.root)}'`;
    state.refuse(due.owner, "timedOut", { kind: "busy", why });
  }
}

/**
 * The code of an application has changed: its instances are replaced, or go as soon as they fit
 * beside those still leaving.
 */
export function requestRestart(state: PoolState, application: ApplicationRecord): void {
  application.failures.reset();
  if (application.settings.isRolling === true && application.count > 0) {
    restartRolling(state, application);
  } else if (restartFits(state, application)) {
    restart(state, application);
  } else {
    state.pendingRestarts.add(application);
  }
}

/** What may be free in a moment is waited for before an instance is shared, if there is room. */
function busyOnArrival(
  state: PoolState,
  application: ApplicationRecord,
): InstanceRecord | undefined {
  const mayWait = application.unasked.size + application.awaited > 0 || isDue(state);
  return mayWait && fullQueue(state, application) === 0
    ? undefined
    : busyAtOnce(state, application);
}

/** How many gets wait in a queue that is full, the application's or that of all; 0: none is. */
function fullQueue({ options, waiters }: PoolState, { line, settings }: ApplicationRecord): number {
  const { maxQueue: own = 0 } = settings;
  if (own > 0 && line.size >= own) return line.size;
  return options.maxQueue > 0 && waiters.size >= options.maxQueue ? waiters.size : 0;
}
