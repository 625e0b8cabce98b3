/**
 * Sessions that their clients have closed and their instances are not done with. An instance that
 * reports the ends of its sessions (PROTOCOL section 10) is free only then. Usually `done` is a
 * moment behind the `close`, since the two come by different sockets; so gets are held back for the
 * place that it will free, as they are for recalls, but not for longer: what takes long may hang.
 */

import type { ApplicationRecord, InstanceRecord, SessionRecord } from "./application.ts";
import { limitUpgraded } from "./finishing.ts";
import type { PoolState } from "./state.ts";

/** How long after a `close` its instance is thought to be about to say `done`. */
export const CLOSING_LIMIT_MS = 20;

/** Places of a busy instance that its next reports will free. */
export function promisedBy(instance: InstanceRecord): number {
  const { closingSoon, load, concurrency, open, long } = instance;
  if (closingSoon.list === undefined || load < concurrency) return 0;
  return Math.max(0, concurrency - (open - long));
}

/** Another session was closed before its end was reported: the report is likely under way. */
export function promise(state: PoolState, instance: InstanceRecord): void {
  const { closingSoon } = instance;
  closingSoon.list?.remove(closingSoon);
  state.closingSoon.pushBack(closingSoon);
  instance.closedMs = state.now;
}

export function promiseNothing(instance: InstanceRecord): void {
  instance.closingSoon.list?.remove(instance.closingSoon);
  instance.promised = 0;
}

/** No longer waits for instances that have not said `done` in time; adds to `touched`. */
export function expirePromises(state: PoolState, touched: Set<ApplicationRecord>): void {
  for (let late = state.closingSoon.first; late !== undefined; late = state.closingSoon.first) {
    if (late.closedMs + CLOSING_LIMIT_MS > state.now) return;
    late.application.promised -= late.promised;
    promiseNothing(late);
    touched.add(late.application);
  }
}

/** An instance is done with so many of its sessions, closed or not. */
export function report(state: PoolState, instance: InstanceRecord, sessions: number): void {
  instance.done += sessions;
  state.shift(instance, { open: 0, undone: -sessions });
  const { overdue, closing } = instance;
  if (overdue !== undefined && closing < overdue.leastClosing) overdue.leastClosing = closing;
  state.retireIfDone(instance);
}

/** A session has become one that lasts: it takes no place any more. */
export function lengthen(state: PoolState, session: SessionRecord): void {
  if (session.isLong) return;
  session.isLong = true;
  if (session.limit !== undefined) state.timeLimits.remove(session.limit);
  state.shift(session.instance, { open: 0, undone: 0, long: 1 });
  limitUpgraded(state, session.instance);
}
