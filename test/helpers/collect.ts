/**
 * Loops long enough to be compiled by the JIT, with collections forced in between: what moves,
 * moves.
 */

/** Beyond this many calls a function has been through every tier of the JIT. */
export const manyTimes = 60_000;
const collectEvery = 10_000;

/** Runs `step` 60,000 times; collects garbage now and then, and makes some. */
export function hammer(step: (round: number) => void): void {
  const garbage: Uint8Array[] = [];
  for (let round = 0; round < manyTimes; round += 1) {
    step(round);
    garbage[round % 64] = new Uint8Array(round % 512);
    if (round % collectEvery === 0) Bun.gc(true);
  }
}
