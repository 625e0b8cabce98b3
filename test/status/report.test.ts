/** The status report of 2.0, to the byte. */

import { expect, test } from "bun:test";
import { statusReport } from "../../src/status/report.ts";
import { applicationWith, instanceWith, poolWith } from "./snapshots.ts";

const text = (report: Uint8Array): string => Buffer.from(report).toString("latin1");

test("an empty pool is reported with its limits and no application", () => {
  expect(text(statusReport(poolWith({})))).toBe(
    "----------- General information -----------\n" +
      "max      = 20\n" +
      "count    = 0\n" +
      "active   = 0\n" +
      "inactive = 0\n" +
      "Using global queue: no\n" +
      "Waiting on global queue: 0\n" +
      "\n" +
      "----------- Applications -----------\n",
  );
});

test("applications are reported with their instances, each followed by a blank line", () => {
  const snapshot = poolWith({
    limits: { max: 6, maxPerApp: 2, maxIdleMs: 0, useGlobalQueue: true },
    count: 3,
    active: 1,
    waiting: 12,
    waitingOnGlobalQueue: 12,
    applications: [
      applicationWith("/srv/app", [
        instanceWith(1234, { sessions: 1, state: "busy" }),
        instanceWith(1240),
      ]),
      applicationWith("/srv/b", [instanceWith(4_194_304)]),
    ],
  });
  expect(text(statusReport(snapshot))).toBe(
    "----------- General information -----------\n" +
      "max      = 6\n" +
      "count    = 3\n" +
      "active   = 1\n" +
      "inactive = 2\n" +
      "Using global queue: yes\n" +
      "Waiting on global queue: 12\n" +
      "\n" +
      "----------- Applications -----------\n" +
      "/srv/app: \n" +
      "  PID: 1234      Sessions: 1\n" +
      "  PID: 1240      Sessions: 0\n" +
      "\n" +
      "/srv/b: \n" +
      "  PID: 4194304   Sessions: 0\n" +
      "\n",
  );
});

/** The lines after the heading of the applications. */
function applicationLines(...applications: Parameters<typeof applicationWith>[]): string {
  const snapshot = poolWith({ applications: applications.map((of) => applicationWith(...of)) });
  return text(statusReport(snapshot)).split("Applications -----------\n")[1] ?? "";
}

test("a root keeps its bytes, but a control character in it cannot make a line of its own", () => {
  expect(applicationLines(["/srv/\xc3\xa9\xff: \n  PID: 1\x1b[2J", [instanceWith(7)]])).toBe(
    `/srv/\xc3\xa9\xff: ${String.raw`\n`}  PID: 1${String.raw`\x1b`}[2J: \n` +
      "  PID: 7         Sessions: 0\n\n",
  );
});

test("instances outside the pool and applications without instances are not shown", () => {
  const leaving = instanceWith(8, { state: "leaving", sessions: 2 });
  const dead = instanceWith(9, { state: "dead", sessions: 1 });
  const active = instanceWith(7, { state: "active", sessions: 3, concurrency: 8 });
  expect(applicationLines(["/a", [leaving, active, dead]], ["/b", [leaving]], ["/c", []])).toBe(
    "/a: \n  PID: 7         Sessions: 3\n\n",
  );
});
