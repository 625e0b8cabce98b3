/** Random numbers and choices from a seed, so that a failure can be repeated. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 to below. */
  below(limit: number): number {
    // A linear congruential generator (Numerical Recipes); the upper bits are the good ones.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new RangeError("nothing to pick from");
    return picked;
  }

  /** Pieces that together are the bytes, none of them empty. */
  cut(bytes: Uint8Array, pieces: number): Uint8Array[] {
    const marks = Array.from({ length: pieces - 1 }, () => 1 + this.below(bytes.length));
    const ends = [...new Set([...marks, bytes.length])].toSorted((a, b) => a - b);
    return ends.map((end, at) => bytes.subarray(at === 0 ? 0 : ends[at - 1], end));
  }
}
