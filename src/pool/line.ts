/**
 * The gets of one application that wait, in order of arrival, with a mark between those for whom
 * enough instances are being spawned (the covered ones, at the front) and the first for whom
 * another is needed. The mark moves only as far as coverage changes, so finding the first uncovered
 * get costs nothing.
 */

/** What a thing needs to stand in a line; the line alone writes it. */
export interface InLine<T> {
  /** Order of arrival. */
  readonly id: number;
  previous: T | undefined;
  next: T | undefined;
  covered: boolean;
}

export class Line<T extends InLine<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;
  #firstUncovered: T | undefined;
  #covered = 0;

  get first(): T | undefined {
    return this.#first;
  }

  get size(): number {
    return this.#size;
  }

  get firstUncovered(): T | undefined {
    return this.#firstUncovered;
  }

  /** Adds a get at its place: the end, unless it comes back after a failed connect. */
  add(item: T): void {
    let next: T | undefined;
    if (this.#last !== undefined && this.#last.id > item.id) {
      next = this.#first;
      while (next !== undefined && next.id < item.id) next = next.next;
    }
    const previous = next === undefined ? this.#last : next.previous;
    item.previous = previous;
    item.next = next;
    if (previous === undefined) this.#first = item;
    else previous.next = item;
    if (next === undefined) this.#last = item;
    else next.previous = item;
    this.#size++;
    item.covered = next?.covered ?? false;
    if (item.covered) this.#covered++;
    else if (next === this.#firstUncovered) this.#firstUncovered = item;
  }

  remove(item: T): void {
    if (item.covered) this.#covered--;
    else if (item === this.#firstUncovered) this.#firstUncovered = item.next;
    if (item.previous === undefined) this.#first = item.next;
    else item.previous.next = item.next;
    if (item.next === undefined) this.#last = item.previous;
    else item.next.previous = item.previous;
    item.previous = undefined;
    item.next = undefined;
    item.covered = false;
    this.#size--;
  }

  /** Moves the mark: the first `count` are covered. */
  cover(count: number): void {
    while (this.#covered < count && this.#firstUncovered !== undefined) {
      this.#firstUncovered.covered = true;
      this.#firstUncovered = this.#firstUncovered.next;
      this.#covered++;
    }
    while (this.#covered > count) {
      const back: T | undefined =
        this.#firstUncovered === undefined ? this.#last : this.#firstUncovered.previous;
      if (back === undefined) return;
      back.covered = false;
      this.#firstUncovered = back;
      this.#covered--;
    }
  }

  /** How many of the first `most` arrived before `id`. */
  countBefore(id: number, most: number): number {
    let count = 0;
    let item = this.#first;
    while (item !== undefined && count < most && item.id < id) {
      count++;
      item = item.next;
    }
    return count;
  }

  *[Symbol.iterator](): Generator<T, void> {
    for (let item = this.#first; item !== undefined; item = item.next) yield item;
  }
}
