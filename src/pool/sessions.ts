/** How sessions end, or go to another instance than the one first chosen. */

import type { InstanceRecord, SessionRecord } from "./application.ts";
import { becomeUnreachable } from "./deaths.ts";
import { planMissing } from "./places.ts";
import type { PoolState } from "./state.ts";
import { countRequests } from "./worn.ts";

/** Failed connects after which a get is refused. */
const MAX_CONNECTS = 10;

/**
 * The client of a session is through with it: its instance may take another once it has said that
 * it is done, or at once if it does not say so; or go if it has left the pool.
 */
export function close(state: PoolState, session: SessionRecord): void {
  leaveOff(state, session);
  session.instance.answeredMs = state.now;
  state.retireIfDone(session.instance);
}

/** As `close`; the caller lets the instance go if that was all it was still there for. */
export function leaveOff(state: PoolState, session: SessionRecord): void {
  const { instance } = session;
  state.counters.sessionsClosed++;
  if (instance.served++ === 0) instance.firstServedMs = state.now;
  // Of those that are kept their clients tell.
  if (!session.waiter.kept) countRequests(state, instance, 1);
  end(state, session, 0);
}

/** A session is over that its instance never heard of. */
export function withdraw(state: PoolState, session: SessionRecord): void {
  state.counters.sessionsClosed++;
  end(state, session, -1);
  state.retireIfDone(session.instance);
}

/** @param undone -1: there is no connection that the instance could report. */
function end(state: PoolState, session: SessionRecord, undone: 0 | -1): void {
  const { instance } = session;
  state.sessions.delete(session.id);
  state.kept.closed(session);
  if (session.limit !== undefined) state.timeLimits.remove(session.limit);
  state.shift(instance, { open: -1, undone, long: session.isLong ? -1 : 0 });
}

/** The get goes back to its place, as if it came now: nobody else may miss the instance. */
export function returnToLine(state: PoolState, session: SessionRecord, cause: string): void {
  const { instance, waiter } = session;
  state.counters.connectFailures++;
  end(state, session, -1);
  if (instance.standing === "pooled") becomeUnreachable(state, instance, cause);
  else state.retireIfDone(instance);
  waiter.failedConnects++;
  if (waiter.failedConnects < MAX_CONNECTS) {
    state.enqueue(waiter);
    planMissing(state, instance.application, waiter.options);
    return;
  }
  state.refuse(waiter, "cannotConnect", { kind: "cannotConnect", cause });
}

/** The backlog of the session's instance is full. Costs as much as instances were tried. */
export function moveElsewhere(
  state: PoolState,
  session: SessionRecord,
): InstanceRecord | undefined {
  const { instance, waiter } = session;
  if (waiter.isChoosy) return undefined;
  const { available, full } = instance.application;
  const tried = (waiter.tried ??= new Set());
  tried.add(instance.id);
  const isNew = ({ id }: InstanceRecord) => !tried.has(id);
  const other = available.find(isNew) ?? full.find(isNew);
  if (other === undefined) return undefined;
  state.counters.moves++;
  state.kept.moved(session, other);
  session.instance = other;
  state.shift(other, { open: 1, undone: 1 });
  state.shift(instance, { open: -1, undone: -1 });
  state.retireIfDone(instance);
  return other;
}
