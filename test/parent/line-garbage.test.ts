/** What of requests that have waited for a session, and of gets, is left for the collector. */
import { edenGC, fullGC, heapStats } from "bun:jsc";
import { expect, test } from "bun:test";

import { Application } from "../../src/parent/application.ts";
import { type PendingGet, PendingGets } from "../../src/parent/pending-gets.ts";
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

test("nor of gets that were answered, whoever has asked for them", () => {
  const asked: PendingGet[] = [];
  const gets = new PendingGets(() => {});
  const line = new SessionLine(new Application("/nowhere"), {
    ...host,
    ask: (get) => {
      asked.push(Object.assign(get, { mark: new WeakSet() }));
      gets.add(get);
    },
  });
  const application = new Application("/nowhere");
  const most = 16;
  for (let count = 0; count < most; count++) line.take(application, new Waiter());
  fullGC();
  const before = left();
  const rounds = 8;
  for (let round = 0; round < rounds; round++) {
    for (let count = 0; count < 500; count++) {
      const get = asked.shift();
      gets.answered(String(get?.id))?.reject(new Error("no session"));
      line.take(application, new Waiter());
    }
    edenGC();
  }
  // Of each that is at hand at a collection there are two: the get, and who waits for it.
  expect(left() - before).toBeLessThan(4 * rounds * most);
});
