/**
 * Things by their numbers, for what comes and goes thousands of times a second. No Map: each time
 * the storage of one is made anew, what it was goes on holding what it held, and leads to what it
 * became, so that a collection of young garbage leaves all that was in it since the last full one.
 * This is one array, at most half full, in which a thing lies at the place that its number leads to
 * or at the next one that was free. It has room for the most there were so far.
 */

const firstBits = 6;
/** 2^32 divided by the golden ratio: numbers that follow each other get places far apart. */
const spread = 0x9e3779b1;

export class IdTable<Id extends number, T extends { readonly id: Id }> {
  #places = emptyPlaces<T>(firstBits);
  #bits = firstBits;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: Id): T | undefined {
    return this.#places[this.#placeOf(id)];
  }

  /** One whose number is not there yet. */
  add(one: T): void {
    if (2 * this.#size >= this.#places.length) this.#grow();
    this.#places[this.#placeOf(one.id)] = one;
    this.#size += 1;
  }

  delete(id: Id): void {
    let place = this.#placeOf(id);
    if (this.#places[place] === undefined) return;
    this.#places[place] = undefined;
    this.#size -= 1;
    // Those behind it may lie there because of it.
    for (;;) {
      place = this.#next(place);
      const other = this.#places[place];
      if (other === undefined) return;
      this.#places[place] = undefined;
      this.#places[this.#placeOf(other.id)] = other;
    }
  }

  /** All of them, in no order. */
  values(): T[] {
    return this.#places.filter((one) => one !== undefined);
  }

  /** Where it is, or would be. */
  #placeOf(id: Id): number {
    let place = Math.imul(id, spread) >>> (32 - this.#bits);
    for (;;) {
      const one = this.#places[place];
      if (one === undefined || one.id === id) return place;
      place = this.#next(place);
    }
  }

  #next(place: number): number {
    return (place + 1) & (this.#places.length - 1);
  }

  #grow(): void {
    const all = this.values();
    this.#bits += 1;
    this.#places = emptyPlaces(this.#bits);
    for (const one of all) this.#places[this.#placeOf(one.id)] = one;
  }
}

function emptyPlaces<T>(bits: number): (T | undefined)[] {
  return Array.from({ length: 2 ** bits }, () => undefined);
}
