// The pool against the naive model in seeded random histories. POOL_SEED=n repeats one,
// POOL_HISTORIES=n runs more.

import { expect, test } from "bun:test";
import { History } from "./history.ts";

const STEPS = 150;
const histories = Number(process.env["POOL_HISTORIES"] ?? 40);
const seedOf = process.env["POOL_SEED"];
const seeds =
  seedOf === undefined ? Array.from({ length: histories }, (_, n) => n + 1) : [Number(seedOf)];

test("decides as the rules do, read naively, in random histories, and forgets what has ended", () => {
  let steps = 0;
  for (const seed of seeds) {
    const history = new History(seed);
    try {
      for (let step = 0; step < STEPS; step++) history.step();
      history.drain();
    } catch (error) {
      const story = history.lines.join("\n");
      throw new Error(`POOL_SEED=${seed} fails:\n${story}\n${String(error)}`, { cause: error });
    }
    steps += history.lines.length;
  }
  expect(steps).toBeGreaterThan(seeds.length * STEPS * 0.5);
  // A second of a processor, of which others may want most.
}, 120_000);
