/** The library's type of `inspect` is what a real server answers. */
import { expect, test } from "bun:test";
import { type Inspection, startPoolServer } from "../../src/parent/index.ts";

test("a real server answers every promised key", async () => {
  await using server = startPoolServer();
  using pool = await server.connect();
  pool.setMaxIdleTime(3);
  const inspection: Inspection = await pool.inspect();
  expect(inspection).toMatchObject({
    limits: { max: 20, maxPerApp: 0, maxIdleMs: 3000, useGlobalQueue: false },
    count: 0,
    active: 0,
    spawning: 0,
    leaving: 0,
    sessions: 0,
    waiting: 0,
    oldestWaiterMs: null,
    counters: { gets: 0, grants: 0, spawnsBegun: 0, deaths: 0 },
    applications: [],
  });
});
