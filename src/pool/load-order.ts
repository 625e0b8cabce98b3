/**
 * The instances of an application, fewest sessions first and among equals the one used last first:
 * one list for each number of sessions, so that taking the best and moving one up or down by a
 * session cost the same for any number of instances. The lowest list in use is found by looking
 * upwards from where it was last seen; whoever is put below moves that mark, so the search is paid
 * for by the moves before it.
 */

import { type Link, List } from "./list.ts";

/** Empty lists worth keeping: an application that was overloaded once need not be for ever. */
const MAX_LISTS_KEPT = 64;

const EMPTY = Number.MAX_SAFE_INTEGER;

export class LoadOrder<T> {
  readonly #levels: (List<T> | undefined)[] = [];
  /** No list below this one has anything in it. */
  #lowest = EMPTY;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds an instance with so many sessions that was used just now. */
  add(link: Link<T>, sessions: number): void {
    let level = this.#levels[sessions];
    if (level === undefined) {
      level = new List<T>();
      // No holes: an array with large ones turns into a hash table.
      while (this.#levels.length < sessions) this.#levels.push(undefined);
      this.#levels[sessions] = level;
    }
    level.pushFront(link);
    this.#size++;
    if (sessions < this.#lowest) this.#lowest = sessions;
  }

  remove(link: Link<T>): void {
    if (link.list === undefined) throw new Error("load order: the instance to remove is not in it");
    link.list.remove(link);
    this.#size--;
    if (this.#size > 0) return;
    this.#lowest = EMPTY;
    if (this.#levels.length > MAX_LISTS_KEPT) this.#levels.length = MAX_LISTS_KEPT;
  }

  /** The best, or undefined if there is none. */
  get first(): T | undefined {
    if (this.#size === 0) return undefined;
    for (;;) {
      const best = this.#levels[this.#lowest]?.first;
      if (best !== undefined) return best;
      this.#lowest++;
    }
  }

  /** The best for which `wanted` holds. */
  find(wanted: (instance: T) => boolean): T | undefined {
    for (const instance of this) if (wanted(instance)) return instance;
    return undefined;
  }

  /** Best first; the one at hand may be removed meanwhile. */
  *[Symbol.iterator](): Generator<T, void> {
    if (this.#size === 0) return;
    for (let at = this.#lowest; at < this.#levels.length; at++) {
      const level = this.#levels[at];
      if (level !== undefined) yield* level;
    }
  }
}
