/** What `status` shows people of a gateway and of an application's processes. */
import { expect, test } from "bun:test";

import { applicationOverview, gatewayOverview } from "../../src/status/gateway-overview.ts";
import type { GatewayStatus } from "../../src/wire/gateway-status.ts";
import { applicationWith, figuresWith, inspected, instanceWith, poolWith } from "./snapshots.ts";

const gateway: Omit<GatewayStatus, "applications" | "pool"> = {
  name: "main",
  pid: 1,
  version: "1.2",
  generation: 0,
  failedSuccessor: null,
  listening: ["http://127.0.0.1:80"],
  workers: [3],
  poolServer: 2,
  unrouted: figuresWith({}),
  processes: [],
  restarts: { worker: 2, "pool server": 0, admin: 0 },
};
const shop = {
  name: "shop",
  root: "/a",
  pause: null,
  figures: figuresWith({ "2xx": 40, "5xx": 2 }),
  residentBytes: 5e7,
};
const none = figuresWith({});
const usage = new Map([
  [7, { cpuPercent: 12.4, residentBytes: 80 * 2 ** 20 }],
  [8, { cpuPercent: 30, residentBytes: 100 * 2 ** 20 }],
]);

const instances = [
  instanceWith(7, { state: "busy", sessions: 3, keptSessions: 0, longSessions: 2, requests: 40 }),
  instanceWith(8, { state: "active", sessions: 1, keptSessions: 1, concurrency: 5, requests: 2 }),
];

test("a line for each application: what is under way, and how long requests took", () => {
  const pool = inspected(poolWith({ applications: [applicationWith("/a", instances)] }));
  const applications = [
    shop,
    { ...shop, name: "blog", root: "/b", pause: "wait" as const, figures: none },
  ];
  const shown = gatewayOverview({ ...gateway, applications, pool }, "", usage, Infinity);
  expect(shown).toStartWith(
    "Gateway main 1: http://127.0.0.1:80\n" +
      "  workers 3, pool server 2, version 1.2, worker replaced 2 times\n  ",
  );
  expect(shown.split("\n").slice(-4)).toEqual([
    "APPLICATION  PROC  BUSY  WAIT  REQ/S     P50    P99   CPU   MEMORY  RESTARTS  STATE",
    "shop            2     3     0    0.7  1.2 ms  2.5 s  42 %  180 MiB         0",
    "blog            0     0     0      0       -      -     -        -         0  paused: " +
      "requests wait",
    "",
  ]);
});

test("the processes of one: sessions that last are counted apart, they take no place", () => {
  const application = applicationWith("/a", instances);
  const broken = {
    ...application,
    rollout: "refused" as const,
    lastSpawnError: { message: "line\n2", agoMs: 3000 },
  };
  const pool = inspected(poolWith({ applications: [broken] }));
  const shown = applicationOverview(shop, pool, usage, Infinity);
  expect(shown.split("\n")).toEqual([
    "shop  /a",
    "  not restarted",
    "  could not be started 3 s ago: line\\n2",
    "",
    "PID  STATE   AT ONCE  REQUESTS   CPU   MEMORY  AGE  UNUSED  OLDEST",
    "  7  busy        1/1        40  12 %   80 MiB  5 s     1 s       -  2 upgraded",
    "  8  active      1/5         2  30 %  100 MiB  5 s     1 s       -",
    "",
  ]);
});

/** The row of an application with two processes of 5 s and a start that failed then. */
function rowWithFailure(agoMs: number): string | undefined {
  const lastSpawnError = { message: "no", agoMs };
  const application = { ...applicationWith("/a", instances), lastSpawnError };
  const pool = inspected(poolWith({ applications: [application] }));
  const shown = gatewayOverview({ ...gateway, applications: [shop], pool }, "", usage, Infinity);
  return shown.split("\n").at(-2);
}

test("a start that failed is a state until the application has been started", () => {
  expect(rowWithFailure(4_999)).toEndWith("0  could not be started 4 s ago: no");
  expect(rowWithFailure(5_001)).toEndWith("0");
});

const long = "the-shop-of-the-customer-with-the-longest-name";
const large = {
  ...figuresWith({}),
  underWay: 12_345,
  requestsPerSecond: 54_321,
  p50Ms: 999,
  p99Ms: 12_345,
};
const facts = { name: long, root: "/a", pause: "wait" as const, figures: large, residentBytes: 0 };
const many = Array.from({ length: 120 }, (_, at) => instanceWith(100_000 + at, {}));
const heavy = new Map(
  many.map(({ pid }) => [pid, { cpuPercent: 60, residentBytes: 1000 * 2 ** 20 }]),
);

test("it fits a terminal of 80 columns: names are shortened, and no word of a state is", () => {
  const application = {
    ...applicationWith("/a", many),
    waiting: 12_345,
    counters: { ...applicationWith("/a", []).counters, restarts: 1234 },
  };
  const pool = inspected(poolWith({ applications: [application] }));
  const applications = [facts, { ...shop, root: "/b" }];
  const listening = Array.from({ length: 4 }, (_, at) => `http://a-long-name.example:${8000 + at}`);
  const shown = gatewayOverview({ ...gateway, listening, applications, pool }, "", heavy, 80);
  const lines = shown.split("\n");
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
  expect(lines.slice(0, 5)).toEqual([
    "Gateway main 1: http://a-long-name.example:8000,",
    "  http://a-long-name.example:8001, http://a-long-name.example:8002,",
    "  http://a-long-name.example:8003",
    "  workers 3, pool server 2, version 1.2, worker replaced 2 times",
    expect.stringMatching(/^ {2}\d/),
  ]);
  expect(lines.slice(-5)).toEqual([
    "APPLICATION      PROC  BUSY  WAIT REQ/S    P50    P99    CPU     MEMORY RESTARTS",
    "the-shop…st-name  120 12345 12345 54321 999 ms 12.3 s 7200 % 120000 MiB     1234",
    "  paused: requests wait",
    "shop                0     3     0   0.7 1.2 ms  2.5 s      -          -        0",
    "",
  ]);
});

test("what is long is begun below an application, and whole where that is asked for alone", () => {
  const message = Array.from({ length: 100 }, (_, at) => `word${at}`).join(" ");
  const broken = {
    ...applicationWith("/a", many.slice(0, 1)),
    lastSpawnError: { message, agoMs: 0 },
  };
  const pool = inspected(poolWith({ applications: [broken] }));
  const applications = [{ ...facts, pause: null }];
  const lines = gatewayOverview({ ...gateway, applications, pool }, "", heavy, 80).split("\n");
  expect(lines.at(-5)).toStartWith("  could not be started 0 ms ago: word0 word1 ");
  expect(lines.slice(-2)).toEqual(["  …", ""]);
  const one = applicationOverview({ ...facts, pause: null }, pool, heavy, 80).split("\n");
  expect(one.filter((line) => line.length > 80)).toEqual([]);
  expect(one.join(" ").replace(/ +/g, " ")).toContain(message);
});
