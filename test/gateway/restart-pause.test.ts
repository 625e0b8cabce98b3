/** How long a process that has ended waits for its successor. */
import { expect, test } from "bun:test";

import { RestartPause } from "../../src/gateway/supervisor/own-process.ts";

test("one death costs no pause; between starts is more and more time, to a bound", () => {
  const pause = new RestartPause();
  const pauses = Array.from({ length: 10 }, () => pause.after(50));
  expect(pauses).toEqual([0, 50, 150, 350, 750, 1550, 3150, 6350, 9950, 9950]);
});

test("a process that has lived for a while begins anew", () => {
  const pause = new RestartPause();
  for (let i = 0; i < 5; i += 1) pause.after(0);
  expect(pause.after(10_000)).toBe(0);
  expect(pause.after(0)).toBe(100);
});

test("who has lived for longer than that time is replaced at once, however often", () => {
  const pause = new RestartPause();
  const lives = [0, 100, 200.5, 399.5, 2_000];
  expect(lives.map((livedMs) => pause.after(livedMs))).toEqual([0, 0, 0, 1, 0]);
});
