/** When gets wait in the pool beside sessions, and when that is given up for a while. */
import { expect, test } from "bun:test";

import { Growth } from "../../src/parent/growth.ts";

/** Ticks with gets waiting until they are to be withdrawn. */
function tryFor(growth: Growth, sessions: number): number {
  for (let ticks = 1; ticks < 1000; ticks += 1) if (growth.tick(sessions, true)) return ticks;
  throw new Error("it is tried for ever");
}

/** Ticks until it may be tried again. */
function restFor(growth: Growth, sessions: number): number {
  for (let ticks = 0; ticks < 1000; ticks += 1) {
    if (growth.mayTry(sessions)) return ticks;
    growth.tick(sessions, false);
  }
  throw new Error("it rests for ever");
}

test("it is tried for some ticks, then rested for, and longer each time up to a second", () => {
  const growth = new Growth();
  growth.tick(6, false);
  const rests = Array.from({ length: 6 }, () => {
    expect(tryFor(growth, 6)).toBe(4);
    return restFor(growth, 6);
  });
  expect(rests).toEqual([4, 8, 16, 32, 40, 40]);
});

test("with more sessions than before it goes on, and the next rest is short again", () => {
  const growth = new Growth();
  growth.tick(1, false);
  for (let round = 0; round < 3; round += 1) {
    tryFor(growth, 1);
    restFor(growth, 1);
  }
  for (let sessions = 2; sessions < 20; sessions += 1) {
    expect(growth.tick(sessions, true)).toBe(false);
    expect(growth.mayTry(sessions)).toBe(true);
  }
  tryFor(growth, 19);
  expect(restFor(growth, 19)).toBe(4);
});

test("fewer sessions than when the rest began end it, as long as they are fewer", () => {
  const growth = new Growth();
  growth.tick(6, false);
  tryFor(growth, 6);
  expect([growth.mayTry(6), growth.mayTry(5)]).toEqual([false, true]);
  growth.tick(5, true);
  expect([growth.mayTry(6), growth.mayTry(5)]).toEqual([false, true]);
});

test("who needs a fresh session does not wait for the end of the rest", () => {
  const growth = new Growth();
  growth.tick(6, false);
  tryFor(growth, 6);
  growth.insist();
  expect(growth.mayTry(6)).toBe(true);
});
