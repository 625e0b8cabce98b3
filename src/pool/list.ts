/**
 * Doubly linked lists whose links belong to the listed thing: joining, leaving and moving cost the
 * same however long the list is, and allocate nothing. A link is in at most one list; a thing has
 * one link per kind of list it can be in.
 */

export class Link<T> {
  readonly owner: T;
  list: List<T> | undefined = undefined;
  previous: Link<T> | undefined = undefined;
  next: Link<T> | undefined = undefined;

  constructor(owner: T) {
    this.owner = owner;
  }
}

export class List<T> {
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;
  #size = 0;

  get first(): T | undefined {
    return this.#first?.owner;
  }

  get last(): T | undefined {
    return this.#last?.owner;
  }

  get size(): number {
    return this.#size;
  }

  pushFront(link: Link<T>): void {
    this.#adopt(link);
    link.next = this.#first;
    if (this.#first === undefined) this.#last = link;
    else this.#first.previous = link;
    this.#first = link;
  }

  pushBack(link: Link<T>): void {
    this.#adopt(link);
    link.previous = this.#last;
    if (this.#last === undefined) this.#first = link;
    else this.#last.next = link;
    this.#last = link;
  }

  remove(link: Link<T>): void {
    if (link.list !== this) throw new Error("list: the link to remove is not in this list");
    if (link.previous === undefined) this.#first = link.next;
    else link.previous.next = link.next;
    if (link.next === undefined) this.#last = link.previous;
    else link.next.previous = link.previous;
    link.list = undefined;
    link.previous = undefined;
    link.next = undefined;
    this.#size--;
  }

  /** From first to last; the one at hand may be removed meanwhile. */
  *[Symbol.iterator](): Generator<T, void> {
    for (let link = this.#first; link !== undefined;) {
      const { owner, next } = link;
      yield owner;
      link = next;
    }
  }

  #adopt(link: Link<T>): void {
    if (link.list !== undefined) throw new Error("list: the link to add is in a list already");
    link.list = this;
    this.#size++;
  }
}
