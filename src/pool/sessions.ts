/** How sessions end, or go to another instance than the one first chosen. */

import type { Instance, Session } from "./application.ts";
import { becomeUnreachable } from "./deaths.ts";
import type { State } from "./state.ts";

/** Failed connects after which a get is refused. */
const MAX_CONNECTS = 10;

/** A session is over: its instance may take another, or go if it has left the pool. */
export function close<O>(state: State<O>, session: Session<O>, now: number): void {
  const { instance } = session;
  state.sessions.delete(session.id);
  state.counters.sessionsClosed++;
  state.kept.closed(session);
  if (instance.served++ === 0) instance.firstServedMs = now;
  instance.lastUsedMs = now;
  state.move(instance, instance.standing, instance.sessions - 1);
  state.retireIfDone(instance);
}

/**
 * The instance cannot be connected to: it leaves the pool, and the get goes back to its place in
 * line.
 */
export function returnToLine<O>(
  state: State<O>,
  session: Session<O>,
  cause: string,
  now: number,
): void {
  const { instance, waiter } = session;
  state.counters.connectFailures++;
  state.sessions.delete(session.id);
  state.kept.closed(session);
  becomeUnreachable(state, instance, cause, now);
  state.move(instance, instance.standing, instance.sessions - 1);
  state.retireIfDone(instance);
  waiter.failedConnects++;
  if (waiter.failedConnects < MAX_CONNECTS) {
    state.enqueue(waiter);
    return;
  }
  state.counters.refusals.cannotConnect++;
  state.refuse(waiter, { kind: "cannotConnect", cause });
}

/**
 * The backlog of the session's instance is full: the session goes to the best instance in the pool
 * that its get has not tried, busy or not, if there is one. Costs as much as instances were tried.
 */
export function moveElsewhere<O>(
  state: State<O>,
  session: Session<O>,
  now: number,
): Instance<O> | undefined {
  const { instance, waiter } = session;
  const { available, full } = instance.application;
  const tried = (waiter.tried ??= new Set());
  tried.add(instance.id);
  const isNew = ({ id }: Instance<O>) => !tried.has(id);
  const other = available.find(isNew) ?? full.find(isNew);
  if (other === undefined) return undefined;
  state.counters.moves++;
  state.kept.moved(session, other);
  session.instance = other;
  other.lastUsedMs = now;
  state.move(other, other.standing, other.sessions + 1);
  instance.lastUsedMs = now;
  state.move(instance, instance.standing, instance.sessions - 1);
  state.retireIfDone(instance);
  return other;
}
