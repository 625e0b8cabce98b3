/**
 * Requests that take too long, and what becomes of their instances (PROTOCOL section 9):
 *
 * - A client has given a session up, and its instance is not done with it within the application's
 *   time; or it has said itself that the time is over.
 * - A session that is not kept has been open for longer than the application allows.
 * - A client has said that the time of a session is over, of an instance that reports nothing: it
 *   is given up if no other session of it was closed as it should be since that one was opened.
 *
 * The instance is given up then: it leaves the pool, and whoever performs that ends its process. An
 * instance says only how many sessions it is done with, not which. So it is given up where the
 * number proves that one of them is still under way: it has reported nothing since, or fewer than
 * could have been the others. Where that is open it is looked at again.
 */

import type { ApplicationRecord, InstanceRecord, SessionRecord } from "./application.ts";
import { CLOSING_LIMIT_MS } from "./closing.ts";
import { giveUp } from "./finishing.ts";
import { HeapEntry } from "./heap.ts";
import { leaveOff } from "./sessions.ts";
import type { PoolState } from "./state.ts";
import type { Overrun } from "./types.ts";

/** When an instance is looked at again whose reports have left it open. */
const AGAIN_MS = 1_000;

/** Given up sessions of one instance that are remembered; further ones replace the oldest. */
const MAX_REMEMBERED = 1_000;

interface GivenUpSession {
  /** For people: what the request was. */
  readonly what: string;
  readonly overrun: Overrun;
  readonly dueMs: number;
  /** Reports of the instance before it was given up. */
  readonly doneBefore: number;
}

/** What an instance has beside once a session of it was given up. */
export class Overdue {
  /** By the time they are due. */
  readonly sessions: GivenUpSession[] = [];
  /** The fewest closed sessions it was not done with at a time, since it was looked at. */
  leastClosing = 0;
  readonly turn: HeapEntry<InstanceRecord>;

  constructor(instance: InstanceRecord) {
    this.turn = new HeapEntry(instance);
  }
}

/** A client closes its session before the request is over. @param isLate with no time left. */
export function abandon(
  state: PoolState,
  session: SessionRecord,
  what: string,
  isLate: boolean,
): void {
  const { instance } = session;
  leaveOff(state, session);
  remember(state, instance, what, isLate);
  state.retireIfDone(instance);
  if (isLate && isSilent(state, session)) giveUp(state, instance, "overdue", what);
}

/** A request of an instance was given up: it is due in its application's time. */
function remember(state: PoolState, instance: InstanceRecord, what: string, isLate: boolean): void {
  const { abandonMs: limitMs = state.options.abandonMs ?? 0 } = instance.application.settings;
  if (instance.standing !== "pooled" && instance.standing !== "leaving") return;
  if (instance.isGivenUp || instance.closing === 0 || (limitMs === 0 && !isLate)) return;
  const overdue = (instance.overdue ??= new Overdue(instance));
  const { sessions, turn } = overdue;
  // Its report may be under way even if no time is left.
  const dueMs = state.now + (isLate ? CLOSING_LIMIT_MS : Math.max(limitMs, CLOSING_LIMIT_MS));
  if (sessions.length === 0) overdue.leastClosing = instance.closing;
  if (sessions.length === MAX_REMEMBERED) sessions.shift();
  const later = sessions.findIndex((other) => other.dueMs > dueMs);
  const overrun = isLate ? "overdue" : "abandoned";
  const given: GivenUpSession = { what, overrun, dueMs, doneBefore: instance.done };
  sessions.splice(later < 0 ? sessions.length : later, 0, given);
  state.overdue.set(turn, Math.min(dueMs, turn.heap === undefined ? Infinity : turn.key));
}

/** Gives up what has taken too long; adds the applications to `touched`. */
export function giveUpOverdue(state: PoolState, touched: Set<ApplicationRecord>): void {
  const { now } = state;
  for (let due = state.overdue.first; due !== undefined && due.key <= now;) {
    touched.add(due.owner.application);
    look(state, due.owner);
    due = state.overdue.first;
  }
  for (let due = state.timeLimits.first; due !== undefined && due.key <= now;) {
    const session = due.owner;
    touched.add(session.instance.application);
    if (isSurelyUndone(session.instance)) {
      state.timeLimits.remove(due);
      giveUp(state, session.instance, "overdue");
    } else {
      state.timeLimits.set(due, now + AGAIN_MS);
    }
    due = state.timeLimits.first;
  }
}

/** A session that is not kept has begun: its application may have a limit for it. */
export function limitTime(state: PoolState, session: SessionRecord): void {
  const { requestMs = state.options.requestMs ?? 0 } = session.instance.application.settings;
  if (requestMs === 0) return;
  session.limit = new HeapEntry(session);
  state.timeLimits.set(session.limit, state.now + requestMs);
}

function look(state: PoolState, instance: InstanceRecord): void {
  const { overdue, closing } = instance;
  if (overdue === undefined) return;
  const { sessions, turn } = overdue;
  const first = sessions[0];
  if (closing === 0 || first === undefined) {
    sessions.length = 0;
    state.overdue.remove(turn);
    return;
  }
  const younger = sessions.filter(({ dueMs }) => dueMs > state.now).length;
  if (first.doneBefore === instance.done || overdue.leastClosing > younger) {
    giveUp(state, instance, first.overrun, first.what);
    return;
  }
  overdue.leastClosing = closing;
  state.overdue.set(turn, state.now + AGAIN_MS);
}

/** Whether an instance that reports nothing has shown no life, where that is a matter of ours. */
function isSilent({ options }: PoolState, { instance, openedMs }: SessionRecord): boolean {
  const { requestMs = options.requestMs ?? 0 } = instance.application.settings;
  const { reportsDone, answeredMs, standing } = instance;
  return requestMs > 0 && !reportsDone && answeredMs < openedMs && standing !== "retired";
}

/** Whether no open session of an instance can be one that it is done with. */
function isSurelyUndone({ reportsDone, undone, open }: InstanceRecord): boolean {
  return !reportsDone || undone >= open;
}
