/** What of requests that have waited for a session is left for the garbage collector. */
import { edenGC, fullGC, heapStats } from "bun:jsc";
import { expect, test } from "bun:test";

import { Application } from "../../src/parent/application.ts";
import { type LineHost, SessionLine, type SessionWaiter } from "../../src/parent/session-line.ts";

const host: LineHost = {
  command: "getKept",
  sharesLooks: true,
  waiting: 0,
  ask: () => {},
  withdraw: () => {},
  tickOn: () => {},
  opened: () => {},
  closed: () => {},
};

/** One that can be counted: nothing else here has a WeakSet. */
class Waiter implements SessionWaiter {
  readonly needsFresh = false;
  readonly maxWaiting = 0;
  readonly mark = new WeakSet();
  serve(): void {}
  fail(): void {}
}

function left(): number {
  return heapStats().objectTypeCounts["WeakSet"] ?? 0;
}

test("collections of young garbage leave nothing of requests that waited before", () => {
  const line = new SessionLine(new Application("/nowhere"), host);
  const application = new Application("/nowhere");
  const waiting: Waiter[] = [];
  fullGC();
  const before = left();
  const most = 64;
  const rounds = 8;
  for (let round = 0; round < rounds; round++) {
    for (let count = 0; count < 1_000; count++) {
      const waiter = new Waiter();
      line.take(application, waiter);
      waiting.push(waiter);
      const oldest = waiting.length > most ? waiting.shift() : undefined;
      if (oldest !== undefined) line.leave(oldest);
    }
    edenGC();
  }
  // Those who wait at a collection are old after it.
  expect(left() - before).toBeLessThan(2 * rounds * most);
});
