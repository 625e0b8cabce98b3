/**
 * Kept sessions and their recalls (PROTOCOL.md, section 11): which of the open sessions their
 * clients may use for several requests, which have been asked back, and which instances have no
 * others. When to ask for one is decided in settle.ts.
 *
 * A kept session is asked for once. `close` ends it, before or after; `keep` says that a request is
 * under way and promises `close` at its end; no answer for 20 ms counts as `keep`. So asking again
 * would tell its client nothing new, and nobody is asked for ever.
 */

import type { ApplicationRecord, InstanceRecord, SessionRecord } from "./application.ts";
import { Link, List } from "./list.ts";
import type { PoolState } from "./state.ts";

/** A recall is answered within this time, or taken as answered (PROTOCOL.md, section 11). */
export const RECALL_LIMIT_MS = 20;

/** What a session has beside if its client may keep it. */
export class Kept {
  readonly session: SessionRecord;
  /** due: asked for, the answer is to come; over: no `close` within the time. */
  recall: "none" | "due" | "over" = "none";
  /** When the recall, if one is due, counts as answered. */
  dueMs = 0;
  /** Its place among those of its instance that were not asked for. */
  readonly ofInstance: Link<Kept> = new Link<Kept>(this);
  /** Its place among those of its application that were not asked for, or among all recalls due. */
  readonly turn: Link<Kept> = new Link<Kept>(this);

  constructor(session: SessionRecord) {
    this.session = session;
  }
}

/** What an instance has beside once a session of it could be kept. */
export class Keeping {
  readonly instance: InstanceRecord;
  /** Open sessions that may be kept. */
  sessions = 0;
  /** Those of them that were not asked for. */
  readonly unasked = new List<Kept>();
  /** Recalls of others that are not answered. */
  recalling = 0;
  /** Its place among the instances that have kept sessions alone. */
  readonly link: Link<Keeping> = new Link<Keeping>(this);

  constructor(instance: InstanceRecord) {
    this.instance = instance;
  }
}

export class KeptSessions {
  /** Recalls that are not answered, oldest first. */
  readonly due = new List<Kept>();
  /** Instances in the pool with kept sessions alone, not all asked for; unused longest first. */
  readonly reclaimable = new List<Keeping>();
  /** Instances in the pool whose sessions are all asked for, no answer being there yet. */
  readonly emptying = new List<Keeping>();
  readonly #state: PoolState;

  constructor(state: PoolState) {
    this.#state = state;
  }

  /** A session that may be kept has begun. Outside the pool nothing is kept. */
  opened(session: SessionRecord): void {
    const { instance } = session;
    const keeping = (instance.keeping ??= new Keeping(instance));
    const kept = new Kept(session);
    session.kept = kept;
    keeping.sessions++;
    keeping.unasked.pushBack(kept.ofInstance);
    instance.application.unasked.pushBack(kept.turn);
    if (instance.standing === "pooled") this.refile(keeping, true);
    else this.#ask(kept);
  }

  /** A session is about to end. */
  closed({ kept, instance: { keeping } }: SessionRecord): void {
    if (kept === undefined || keeping === undefined) return;
    keeping.sessions--;
    if (kept.recall === "none") {
      this.#unlist(kept, keeping);
    } else if (kept.recall === "due") {
      this.#state.counters.recalls.closed++;
      this.#settle(kept);
    }
  }

  /** A session is about to go from one instance of its application to another in the pool. */
  moved({ kept, instance }: SessionRecord, to: InstanceRecord): void {
    const from = instance.keeping;
    if (kept === undefined || from === undefined) return;
    const keeping = (to.keeping ??= new Keeping(to));
    from.sessions--;
    keeping.sessions++;
    if (kept.recall === "none") {
      from.unasked.remove(kept.ofInstance);
      keeping.unasked.pushBack(kept.ofInstance);
    } else if (kept.recall === "due") {
      from.recalling--;
      keeping.recalling++;
      if (instance.standing !== "pooled") to.application.recalling++;
    }
  }

  /** An instance has left the pool: what is kept of it is asked for, and makes no room in it. */
  left({ application, keeping }: InstanceRecord): void {
    if (keeping === undefined) return;
    application.recalling -= keeping.recalling;
    this.recallAll(keeping);
  }

  /** A client answered `keep`. Too late, or unasked, it is ignored. */
  answeredKeep({ kept }: SessionRecord): void {
    if (kept?.recall !== "due") return;
    this.#state.counters.recalls.kept++;
    this.#settle(kept);
  }

  /** Takes recalls as answered whose time is over; adds their applications to `touched`. */
  expire(touched: Set<ApplicationRecord>): void {
    for (let kept = this.due.first; kept !== undefined; kept = this.due.first) {
      if (kept.dueMs > this.#state.now) return;
      this.#state.counters.recalls.timedOut++;
      touched.add(kept.session.instance.application);
      this.#settle(kept);
    }
  }

  /**
   * Asks for one session, the longest open, for each get in an application's line that no other
   * place is about to be free for.
   */
  recallForLine(application: ApplicationRecord): void {
    const { line, unasked } = application;
    while (application.awaited < line.size && unasked.first !== undefined) {
      this.#ask(unasked.first);
    }
  }

  /** Asks for all sessions of an instance that were not asked for. */
  recallAll(keeping: Keeping): void {
    for (const kept of keeping.unasked) this.#ask(kept);
  }

  /**
   * Another instance is there of those that share an application's gets. While requests keep
   * coming, the others would keep all sessions: asks for what each has beyond its share, but of
   * clients who go on with an instance.
   */
  evenOut({ count, unasked }: ApplicationRecord): void {
    const share = Math.floor(unasked.size / count);
    for (const kept of unasked) {
      const { instance, waiter } = kept.session;
      const isBeyond = instance.keeping !== undefined && instance.keeping.unasked.size > share;
      if (isBeyond && !waiter.isChoosy) this.#ask(kept);
    }
  }

  /** Puts an instance whose sessions have changed into the list that it belongs in now. */
  refile(keeping: Keeping, wasUsed: boolean): void {
    const { link } = keeping;
    const list = this.#listFor(keeping);
    if (list === link.list && !wasUsed) return;
    link.list?.remove(link);
    list?.pushBack(link);
  }

  #listFor({ instance, sessions, unasked, recalling }: Keeping): List<Keeping> | undefined {
    const all = instance.sessions;
    if (instance.standing !== "pooled" || all === 0 || all > sessions) return undefined;
    if (unasked.size > 0) return this.reclaimable;
    return recalling === all ? this.emptying : undefined;
  }

  #ask(kept: Kept): void {
    const { instance, id } = kept.session;
    const { keeping } = instance;
    if (keeping === undefined) return;
    this.#unlist(kept, keeping);
    kept.recall = "due";
    kept.dueMs = this.#state.now + RECALL_LIMIT_MS;
    this.due.pushBack(kept.turn);
    keeping.recalling++;
    if (instance.standing === "pooled") instance.application.recalling++;
    this.#state.counters.recalls.sent++;
    this.#state.effects.push({ kind: "recall", session: id });
    this.refile(keeping, false);
  }

  #unlist(kept: Kept, keeping: Keeping): void {
    keeping.unasked.remove(kept.ofInstance);
    keeping.instance.application.unasked.remove(kept.turn);
  }

  /** A recall is answered, or taken as answered. */
  #settle(kept: Kept): void {
    const { application, standing, keeping } = kept.session.instance;
    kept.recall = "over";
    this.due.remove(kept.turn);
    if (standing === "pooled") application.recalling--;
    if (keeping === undefined) return;
    keeping.recalling--;
    this.refile(keeping, false);
  }
}
