/**
 * Kept sessions and their recalls (PROTOCOL.md, section 11): which of the open sessions their
 * clients may use for several requests, which have been asked back, and which instances have no
 * others. When to ask for one is decided in settle.ts.
 *
 * A kept session is asked for once. `close` ends it, before or after; `keep` says that a request is
 * under way and promises `close` at its end; no answer for 20 ms counts as `keep`. So asking again
 * would tell its client nothing new, and nobody is asked for ever.
 */

import type { Application, Instance, Session } from "./application.ts";
import type { Counters } from "./counters.ts";
import { Link, List } from "./list.ts";
import type { SessionId } from "./types.ts";

/** A recall is answered within this time, or taken as answered (PROTOCOL.md, section 11). */
export const RECALL_LIMIT_MS = 20;

/** What a session has beside if its client may keep it. */
export class Kept<O> {
  readonly session: Session<O>;
  /** due: asked for, the answer is to come; over: no `close` within the time. */
  recall: "none" | "due" | "over" = "none";
  /** When the recall, if one is due, counts as answered. */
  dueMs = 0;
  /** Its place among those of its instance that were not asked for. */
  readonly ofInstance: Link<Kept<O>> = new Link<Kept<O>>(this);
  /** Its place among those of its application that were not asked for, or among all recalls due. */
  readonly turn: Link<Kept<O>> = new Link<Kept<O>>(this);

  constructor(session: Session<O>) {
    this.session = session;
  }
}

export class KeptSessions<O> {
  /** Recalls that are not answered, oldest first. */
  readonly due = new List<Kept<O>>();
  /**
   * Instances in the pool that have kept sessions alone, one of them at least not asked for; unused
   * longest first.
   */
  readonly reclaimable = new List<Instance<O>>();
  /** Instances in the pool whose sessions are all asked for, no answer being there yet. */
  readonly emptying = new List<Instance<O>>();
  readonly #counters: Counters;
  readonly #recall: (session: SessionId) => void;

  constructor(counters: Counters, recall: (session: SessionId) => void) {
    this.#counters = counters;
    this.#recall = recall;
  }

  /** A session that may be kept has begun. Outside the pool nothing is kept. */
  opened(session: Session<O>, now: number): void {
    const { instance } = session;
    const kept = new Kept(session);
    session.kept = kept;
    instance.keptSessions++;
    instance.kept.pushBack(kept.ofInstance);
    instance.application.kept.pushBack(kept.turn);
    if (instance.standing === "pooled") this.refile(instance, true);
    else this.#ask(kept, now);
  }

  /** A session is about to end. */
  closed({ kept, instance }: Session<O>): void {
    if (kept === undefined) return;
    instance.keptSessions--;
    if (kept.recall === "none") {
      this.#unlist(kept);
    } else if (kept.recall === "due") {
      this.#counters.recalls.closed++;
      this.#settle(kept);
    }
  }

  /** A session is about to go from one instance of its application to another in the pool. */
  moved({ kept, instance: from }: Session<O>, to: Instance<O>): void {
    if (kept === undefined) return;
    from.keptSessions--;
    to.keptSessions++;
    if (kept.recall === "none") {
      from.kept.remove(kept.ofInstance);
      to.kept.pushBack(kept.ofInstance);
    } else if (kept.recall === "due") {
      from.recalling--;
      to.recalling++;
      if (from.standing !== "pooled") to.application.recalling++;
    }
  }

  /** An instance has left the pool: what is kept of it is asked for, and makes no room in it. */
  left(instance: Instance<O>, now: number): void {
    instance.application.recalling -= instance.recalling;
    this.recallAll(instance, now);
  }

  /** A client answered `keep`. Too late, or unasked, it is ignored. */
  answeredKeep({ kept }: Session<O>): void {
    if (kept?.recall !== "due") return;
    this.#counters.recalls.kept++;
    this.#settle(kept);
  }

  /** Takes recalls as answered whose time is over; adds their applications to `touched`. */
  expire(touched: Set<Application<O>>, now: number): void {
    for (let kept = this.due.first; kept !== undefined; kept = this.due.first) {
      if (kept.dueMs > now) return;
      this.#counters.recalls.timedOut++;
      touched.add(kept.session.instance.application);
      this.#settle(kept);
    }
  }

  /** Asks for one session, the longest open, for each get in an application's line. */
  recallForLine(application: Application<O>, now: number): void {
    const { line, kept } = application;
    while (application.recalling < line.size && kept.first !== undefined) {
      this.#ask(kept.first, now);
    }
  }

  /** Asks for all sessions of an instance that were not asked for. */
  recallAll(instance: Instance<O>, now: number): void {
    for (const kept of instance.kept) this.#ask(kept, now);
  }

  /** Puts an instance whose sessions have changed into the list that it belongs in now. */
  refile(instance: Instance<O>, wasUsed: boolean): void {
    const { keeping } = instance;
    const list = this.#listFor(instance);
    if (list === keeping.list && !wasUsed) return;
    keeping.list?.remove(keeping);
    list?.pushBack(keeping);
  }

  #listFor(instance: Instance<O>): List<Instance<O>> | undefined {
    const { standing, sessions, keptSessions, kept, recalling } = instance;
    if (standing !== "pooled" || sessions === 0 || sessions > keptSessions) return undefined;
    if (kept.size > 0) return this.reclaimable;
    return recalling === sessions ? this.emptying : undefined;
  }

  #ask(kept: Kept<O>, now: number): void {
    const { instance, id } = kept.session;
    this.#unlist(kept);
    kept.recall = "due";
    kept.dueMs = now + RECALL_LIMIT_MS;
    this.due.pushBack(kept.turn);
    instance.recalling++;
    if (instance.standing === "pooled") instance.application.recalling++;
    this.#counters.recalls.sent++;
    this.#recall(id);
    this.refile(instance, false);
  }

  #unlist(kept: Kept<O>): void {
    const { instance } = kept.session;
    instance.kept.remove(kept.ofInstance);
    instance.application.kept.remove(kept.turn);
  }

  /** A recall is answered, or taken as answered. */
  #settle(kept: Kept<O>): void {
    const { instance } = kept.session;
    kept.recall = "over";
    this.due.remove(kept.turn);
    instance.recalling--;
    if (instance.standing === "pooled") instance.application.recalling--;
    this.refile(instance, false);
  }
}
