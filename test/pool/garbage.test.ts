// What of gets that are over is left for the garbage collector.

import { edenGC, fullGC, heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { Pool } from "../../src/pool/pool.ts";
import type { Effect, SessionId } from "../../src/pool/types.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { requestOf } from "./app-request.ts";

const options = { maxWaitMs: 0, maxQueue: 0, spawnsAtOnce: 100, slowSpawnMs: Infinity };
const request = {
  root: fromText("/app"),
  options: requestOf(""),
  restart: false,
  expectedConcurrency: 1,
  kept: false,
};

/** Plays gets, so many at a time for so many instances. @returns bytes left of each. */
function leftOfEach(atOnce: number, max: number): number {
  const pool = new Pool(options, { max, useGlobalQueue: true });
  const open: SessionId[] = [];
  const perform = (effects: readonly Effect[]): void => {
    for (const effect of effects) {
      if (effect.kind === "grant") open.push(effect.session);
      if (effect.kind !== "spawn") continue;
      const ready = { pid: 1, concurrency: 1, reportsDone: false };
      perform(pool.spawned(effect.spawn, ready, 0).effects);
    }
  };
  const get = (): void => perform(pool.get(request, 0).effects);
  const closeOldest = (): void => {
    const oldest = open.shift();
    if (oldest !== undefined) perform(pool.sessionClosed(oldest, 0));
  };
  for (let n = 0; n < atOnce; n++) get();
  const rounds = 8;
  const gets = 2000;
  const play = (): void => {
    for (let n = 0; n < gets; n++) {
      closeOldest();
      get();
    }
    edenGC();
  };
  play();
  fullGC();
  const before = heapStats().heapSize;
  for (let round = 0; round < rounds; round++) play();
  return (heapStats().heapSize - before) / (rounds * gets);
}

test("collections of young garbage leave nothing of gets that are over, whether they waited or not", () => {
  // Those that are under way at a collection are old after it.
  expect(leftOfEach(16, 16)).toBeLessThan(60);
  expect(leftOfEach(32, 16)).toBeLessThan(60);
});
