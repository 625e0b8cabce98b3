/**
 * A priority queue with the smallest key first, for what waits its turn among all applications and
 * can leave from the middle: O(log n) in those waiting, where a sorted list would cost O(n) for
 * each that comes back to its old place.
 */

export class HeapEntry<T> {
  readonly owner: T;
  heap: Heap<T> | undefined = undefined;
  key = 0;
  index = -1;

  constructor(owner: T) {
    this.owner = owner;
  }
}

export class Heap<T> {
  readonly #entries: HeapEntry<T>[] = [];

  get size(): number {
    return this.#entries.length;
  }

  /** The entry with the smallest key. */
  get first(): HeapEntry<T> | undefined {
    return this.#entries[0];
  }

  /** In no order. */
  [Symbol.iterator](): Iterator<HeapEntry<T>> {
    return this.#entries.values();
  }

  /** Puts the entry in with this key, or changes its key; takes it out of another heap. */
  set(entry: HeapEntry<T>, key: number): void {
    if (entry.heap !== this) {
      entry.heap?.remove(entry);
      entry.heap = this;
      entry.index = this.#entries.length;
      this.#entries.push(entry);
    }
    entry.key = key;
    this.#settle(entry);
  }

  /** Does nothing if the entry is not in this heap. */
  remove(entry: HeapEntry<T>): void {
    if (entry.heap !== this) return;
    const last = this.#entries.pop();
    if (last !== undefined && last !== entry) {
      this.#put(last, entry.index);
      this.#settle(last);
    }
    entry.heap = undefined;
    entry.index = -1;
  }

  #settle(entry: HeapEntry<T>): void {
    this.#rise(entry);
    this.#sink(entry);
  }

  #rise(entry: HeapEntry<T>): void {
    while (entry.index > 0) {
      const parent = this.#entries[(entry.index - 1) >> 1];
      if (parent === undefined || parent.key <= entry.key) return;
      this.#swap(parent, entry);
    }
  }

  #sink(entry: HeapEntry<T>): void {
    for (;;) {
      const left = this.#entries[2 * entry.index + 1];
      const right = this.#entries[2 * entry.index + 2];
      const child =
        left !== undefined && right !== undefined && right.key < left.key ? right : left;
      if (child === undefined || child.key >= entry.key) return;
      this.#swap(entry, child);
    }
  }

  #swap(a: HeapEntry<T>, b: HeapEntry<T>): void {
    const { index } = a;
    this.#put(a, b.index);
    this.#put(b, index);
  }

  #put(entry: HeapEntry<T>, index: number): void {
    entry.index = index;
    this.#entries[index] = entry;
  }
}
