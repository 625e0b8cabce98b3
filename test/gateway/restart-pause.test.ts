/** How long a process that has ended waits for its successor. */
import { expect, test } from "bun:test";

import { RestartPause } from "../../src/gateway/supervisor/restart-pause.ts";

test("one death costs no pause; one after the other costs more and more, to a bound", () => {
  const pause = new RestartPause();
  const pauses = Array.from({ length: 10 }, () => pause.after(50));
  expect(pauses).toEqual([0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
});

test("a process that has lived for a while begins anew", () => {
  const pause = new RestartPause();
  for (let i = 0; i < 5; i += 1) pause.after(0);
  expect(pause.after(10_000)).toBe(0);
  expect(pause.after(0)).toBe(100);
});
