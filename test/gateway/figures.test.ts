/** Figures of requests: counted in workers, told, summed up, and equal to what a client counts. */
import { expect, test } from "bun:test";

import { BusyError } from "../../src/parent/errors.ts";
import { Figures } from "../../src/gateway/supervisor/figures.ts";
import { RequestCounts } from "../../src/gateway/worker/request-counts.ts";
import { figureCount, figurePlaces, type Histogram } from "../../src/wire/request-figures.ts";
import { until } from "../helpers/condition.ts";
import { gateways, statusOf, writeApplication } from "../helpers/gateway.ts";
import { pidOf } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { app, gateways as visits } from "./support.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();
const startVisits = visits();

const shop = app("shop");
const over = { app: shop, receivedMs: 1000, status: 200, bytes: 10, queueMs: 0, pid: 0 };

/** A row with these numbers in it. */
function rowOf(numbers: Readonly<Record<number, number>>): number[] {
  return Array.from({ length: figureCount }, (_, at) => numbers[at] ?? 0);
}

function inBuckets(histogram: Histogram | undefined): number {
  return (histogram?.counts ?? []).reduce((sum, n) => sum + n, 0);
}

test("what a worker has counted is told once, and what is under way as it stands", () => {
  const { statuses, times, timesMs, waits, waitsMs, bytesSent, underWay } = figurePlaces;
  const counts = new RequestCounts();
  counts.begun(shop);
  counts.begun(shop);
  counts.over({ ...over, status: 503, queueMs: 60.5, pid: 7 }, 1002.5);
  const told = { [statuses + 4]: 1, [times + 2]: 1, [timesMs]: 2.5, [waits + 6]: 1 };
  const rest = { [waitsMs]: 60.5, [bytesSent]: 10, [underWay]: 1 };
  expect(counts.take()).toEqual([["shop", rowOf({ ...told, ...rest })]]);
  expect(counts.take()).toEqual([]);
  counts.over({ ...over, app: undefined, status: 404, bytes: 0 }, 1000);
  counts.over({ ...over, status: 101, bytes: 0 }, 99_000);
  expect(counts.take()).toEqual([
    ["shop", rowOf({ [statuses]: 1 })],
    ["", rowOf({ [statuses + 3]: 1, [times]: 1 })],
  ]);
});

test("sums last, the last minute is by the second, the last hour by the minute", () => {
  const figures = new Figures(0);
  const one = rowOf({ [figurePlaces.statuses + 1]: 60, [figurePlaces.times]: 60 });
  figures.add([["shop", one]], 500);
  expect(figures.of("shop", 2, 1000)).toMatchObject({
    statuses: { "2xx": 60 },
    underWay: 2,
    requestsPerSecond: 60,
    p99Ms: 0.99,
  });
  figures.add([["shop", one]], 30_500);
  expect(figures.of("shop", 0, 59_900).requestsPerSecond).toBeCloseTo(120 / 59.9);
  expect(figures.of("shop", 0, 60_500).requestsPerSecond).toBe(1);
  for (let minute = 1; minute <= 90; minute += 1) {
    figures.tick(minute * 60_000);
    figures.noteMemory("shop", minute);
    if (minute % 2 === 0) figures.add([["shop", one]], minute * 60_000);
  }
  expect(figures.lastHour("shop").minutes.map(({ minute }) => minute)).toEqual(
    Array.from({ length: 30 }, (_, at) => 30 + 2 * at),
  );
  expect(figures.lastHour("shop").minutes[0]).toMatchObject({
    requests: 60,
    failed: 0,
    p50Ms: 0.5,
  });
  expect(figures.lastHour("shop").memory.map(({ bytes }) => bytes)).toEqual(
    Array.from({ length: 61 }, (_, at) => 30 + at),
  );
  figures.tick(200 * 60_000);
  expect(figures.lastHour("shop")).toEqual({ minute: 200, minutes: [], memory: [] });
  expect(figures.of("shop", 0, 200 * 60_000)).toMatchObject({
    statuses: { "2xx": 60 * 47 },
    requestsPerSecond: 0,
    p99Ms: null,
  });
});

test("a request that got no instance has waited all the same", async () => {
  const gateway = startVisits();
  gateway.refusal = new BusyError("too many wait");
  await (await fetch(gateway.url("/"))).text();
  await until("it is over", () => gateway.done.length === 1);
  expect(gateway.done[0]?.queueMs).toBeGreaterThan(0);
});

test("the status counts what a client has counted, over a worker's death and a reload too", async () => {
  const root = writeApplication(temporaryDirectory());
  const gateway = startGateway([root, "--listen", "127.0.0.1:0", "--workers", "2"]);
  const address = await gateway.address();
  let sent = 0;
  const send = async (count: number): Promise<void> => {
    const answers = Array.from({ length: count }, () => fetch(address, { keepalive: false }));
    for (const answer of answers) expect((await (await answer).text()).length).toBeGreaterThan(0);
    sent += count;
  };
  const counted = async (): Promise<boolean> => {
    const { applications } = await statusOf(gateway);
    return applications[0]?.figures.statuses["2xx"] === sent;
  };
  await send(30);
  await until("all are counted", counted);
  process.kill(pidOf(gateway.workers[0]), "SIGKILL");
  await until("there is another", () => gateway.workers.length === 2);
  await send(10);
  const old = gateway.workers.map(({ pid }) => pid);
  gateway.signal("SIGHUP");
  await until("it is reloaded", () => !gateway.workers.some(({ pid }) => old.includes(pid)));
  await send(10);
  await until("all are counted", counted);
  const { applications, unrouted } = await statusOf(gateway);
  const { figures } = applications[0] ?? {};
  expect(inBuckets(figures?.times)).toBe(sent);
  expect(inBuckets(figures?.waits)).toBe(sent);
  expect(figures?.underWay).toBe(0);
  expect(figures?.requestsPerSecond).toBeGreaterThan(0);
  expect(figures?.p99Ms).toBeGreaterThan(0);
  expect(unrouted.statuses["4xx"]).toBe(0);
  await gateway.end();
});
