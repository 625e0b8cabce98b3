/** What `status` shows people of an application's processes. */
import { expect, test } from "bun:test";

import { gatewayOverview } from "../../src/status/gateway-overview.ts";
import { applicationWith, instanceWith, poolWith } from "./snapshots.ts";

test("sessions that last are counted apart: they take no place", () => {
  const instances = [
    instanceWith(7, { state: "busy", sessions: 3, longSessions: 2, closing: 0 }),
    instanceWith(8, { state: "active", sessions: 1, closing: 1, concurrency: 5 }),
  ];
  const applications = [applicationWith("/a", instances)];
  const gateway = { pid: 1, listening: [], workers: [], poolServer: 2 };
  const shown = gatewayOverview(
    { ...gateway, applications: [{ name: "a", root: "/a" }] },
    poolWith({ applications }),
  );
  expect(shown.split("\n").slice(-3)).toEqual([
    "  PID 7       busy     1 of 1 at once      served 0        runs 5 s, unused 1 s, 2 upgraded",
    "  PID 8       active   2 of 5 at once      served 0        runs 5 s, unused 1 s",
    "",
  ]);
});
