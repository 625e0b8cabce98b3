/** What `status` shows people of a gateway and of an application's processes. */
import { expect, test } from "bun:test";

import { applicationOverview, gatewayOverview } from "../../src/status/gateway-overview.ts";
import { applicationWith, figuresWith, instanceWith, poolWith } from "./snapshots.ts";

const gateway = {
  name: "main",
  pid: 1,
  version: "1.2",
  listening: ["http://127.0.0.1:80"],
  workers: [3],
};
const shop = {
  name: "shop",
  root: "/a",
  pause: null,
  figures: figuresWith({ "2xx": 40, "5xx": 2 }),
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
  const pool = poolWith({ applications: [applicationWith("/a", instances)] });
  const applications = [
    shop,
    { ...shop, name: "blog", root: "/b", pause: "wait" as const, figures: none },
  ];
  const facts = { ...gateway, poolServer: 2, applications, restarts: { worker: 2, admin: 0 } };
  const shown = gatewayOverview(facts, pool, usage, Infinity);
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
  const shown = applicationOverview(shop, poolWith({ applications: [broken] }), usage, Infinity);
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

test("a line that is too long for the terminal is cut", () => {
  const pool = poolWith({ applications: [applicationWith("/a", instances)] });
  const facts = {
    ...gateway,
    poolServer: 2,
    applications: [{ ...shop, pause: "refuse" as const }],
    restarts: {},
  };
  const lines = gatewayOverview(facts, pool, usage, 80).split("\n");
  expect(lines.at(-2)).toEndWith("  p…");
  expect(lines.at(-2)).toHaveLength(80);
});
