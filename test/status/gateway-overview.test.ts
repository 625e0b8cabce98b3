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

test("kept sessions make no process busy while no request is under way", () => {
  const pool = inspected(poolWith({ applications: [applicationWith("/a", instances)] }));
  const figures = { ...shop.figures, underWay: 0 };
  const shown = applicationOverview({ ...shop, figures }, pool, usage, Infinity);
  expect(shown.split("\n").slice(-3)).toEqual([
    "  7  busy       1/1        40  12 %   80 MiB  5 s     1 s       -  2 upgraded",
    "  8  idle       0/5         2  30 %  100 MiB  5 s     1 s       -",
    "",
  ]);
});

test("a line that is too long for the terminal is cut", () => {
  const pool = inspected(poolWith({ applications: [applicationWith("/a", instances)] }));
  const applications = [{ ...shop, pause: "refuse" as const }];
  const lines = gatewayOverview({ ...gateway, applications, pool }, "", usage, 80).split("\n");
  expect(lines.at(-2)).toEndWith("  p…");
  expect(lines.at(-2)).toHaveLength(80);
});
