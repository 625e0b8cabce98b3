/** The OpenMetrics text: the format's rules, and that every figure is where its name says. */

import { expect, test } from "bun:test";
import type { PoolSnapshot } from "../../src/pool/types.ts";
import { formatMetrics, type Family } from "../../src/status/metric-text.ts";
import { METRIC_PREFIX, poolMetrics } from "../../src/status/pool-metrics.ts";
import { metricFormatFor } from "../../src/wire/metric-format.ts";
import { applicationWith, inspected, instanceWith, noEvents, poolWith } from "./snapshots.ts";

const format = (...families: Family[]): string => formatMetrics("openmetrics", "x_", families);
const openMetrics = (pool: PoolSnapshot): string =>
  formatMetrics("openmetrics", METRIC_PREFIX, poolMetrics(inspected(pool)));
const gauge: Family = { name: "waiters", type: "gauge", help: "Waiting.", samples: [{ value: 3 }] };

test("a family is its type, help and samples, and EOF ends the text", () => {
  expect(format(gauge)).toBe(
    "# TYPE x_waiters gauge\n# HELP x_waiters Waiting.\nx_waiters 3\n# EOF\n",
  );
});

test("a counter's samples end in _total and an info's in _info, their families do not", () => {
  const samples = [{ labels: { app: "/a", state: "idle" }, value: 1 }];
  expect(format({ ...gauge, type: "counter", samples })).toContain(
    "# TYPE x_waiters counter\n# HELP x_waiters Waiting.\n" +
      'x_waiters_total{app="/a",state="idle"} 1\n',
  );
  expect(format({ ...gauge, type: "info", samples })).toContain("\nx_waiters_info{");
});

test("a unit that ends the name is announced", () => {
  const family: Family = { ...gauge, name: "wait_seconds" };
  expect(format(family)).toContain("gauge\n# UNIT x_wait_seconds seconds\n# HELP");
});

test("label values and help texts are escaped", () => {
  const samples = [{ labels: { app: '/a"b\\c\nd' }, value: 1 }];
  const text = format({ ...gauge, help: 'a "b"\n\\', samples });
  expect(text).toContain(String.raw`x_waiters{app="/a\"b\\c\nd"} 1`);
  expect(text).toContain(String.raw`# HELP x_waiters a \"b\"\n\\`);
});

test("numbers that are none have the format's names", () => {
  const samples = [NaN, Infinity, -Infinity, 0.25, 1e21].map((value) => ({ value }));
  expect(format({ ...gauge, samples })).toContain(
    "x_waiters NaN\nx_waiters +Inf\nx_waiters -Inf\nx_waiters 0.25\nx_waiters 1e+21\n",
  );
});

test("a family without samples is left out", () => {
  expect(format({ ...gauge, samples: [] })).toBe("# EOF\n");
});

test("for Prometheus' older format a family has its samples' name, and no unit, info or end", () => {
  const families: Family[] = [
    { ...gauge, name: "wait_seconds", help: 'a "b"\n\\' },
    { ...gauge, type: "counter" },
    { ...gauge, type: "info", samples: [{ labels: { app: '"' }, value: 1 }] },
  ];
  expect(formatMetrics("prometheus", "x_", families)).toBe(
    `# HELP x_wait_seconds a "b"\\n\\\\\n# TYPE x_wait_seconds gauge\nx_wait_seconds 3\n` +
      "# HELP x_waiters_total Waiting.\n# TYPE x_waiters_total counter\nx_waiters_total 3\n" +
      String.raw`# HELP x_waiters_info Waiting.${"\n"}# TYPE x_waiters_info gauge${"\n"}` +
      'x_waiters_info{app="\\""} 1\n',
  );
});

const open = "application/openmetrics-text";
test.each([
  [null, "prometheus"],
  ["*/*", "prometheus"],
  ["text/html,application/xhtml+xml,*/*;q=0.8", "prometheus"],
  [open, "openmetrics"],
  [`${open};version=1.0.0;q=0.5,${open};version=0.0.1;q=0.4,text/plain;q=0.3,*/*`, "openmetrics"],
  [`text/plain;version=0.0.4;q=0.5 , ${open.toUpperCase()} ; version=1.0.0 ; q=0.5`, "openmetrics"],
  [`text/plain;version=0.0.4,${open};q=0.9`, "prometheus"],
  [`${open};q=0`, "prometheus"],
  [`${open}-2;q=1`, "prometheus"],
])("who accepts %j is told in the format of %s", (accept, wanted) => {
  expect<string>(metricFormatFor(accept)).toBe(wanted);
});

test.each(["Waiters", "a b", "a:b", "gets_total", "build_info", ""])(
  "%j is a mistake as a name",
  (name) => {
    if (name === "") expect(() => formatMetrics("openmetrics", "", [{ ...gauge, name }])).toThrow();
    else expect(() => format({ ...gauge, name })).toThrow("not a name for a gauge");
  },
);

const snapshot = poolWith({
  limits: { max: 9, maxPerApp: 4, maxIdleMs: 1_500, useGlobalQueue: true },
  count: 3,
  active: 2,
  waiting: 5,
  oldestWaiterMs: 2_250,
  counters: {
    ...noEvents,
    gets: 100,
    grants: 90,
    grantsOfBusy: 30,
    refusals: { queueFull: 1, timedOut: 2, spawnFailed: 3, cannotConnect: 4 },
    spawnsBegun: 12,
    spawnsDone: 10,
    spawnsFailed: 2,
    retirements: { ...noEvents.retirements, evicted: 6 },
    recalls: { sent: 13, closed: 5, kept: 4, timedOut: 3 },
  },
  applications: [
    applicationWith(
      "/a",
      [
        instanceWith(7),
        instanceWith(8, { state: "busy", sessions: 2, keptSessions: 1 }),
        instanceWith(9, { state: "leaving", sessions: 1 }),
        instanceWith(10),
      ],
      {
        waiting: 5,
        spawns: [{ state: "planned", ageMs: 1, outdated: false }],
        pauseMs: 1_500,
      },
    ),
  ],
});

/** The value of a sample in an exposition, by its name and labels. */
function valueIn(text: string, sample: string): string | undefined {
  const start = `${METRIC_PREFIX}${sample} `;
  return text
    .split("\n")
    .find((line) => line.startsWith(start))
    ?.slice(start.length);
}

test.each([
  ["max_processes", "9"],
  ["max_processes_per_app", "4"],
  ["max_idle_seconds", "1.5"],
  ["global_queue", "1"],
  ["current_processes", "3"],
  ["active_processes", "2"],
  ["top_level_queue", "5"],
  ["oldest_waiter_seconds", "2.25"],
  ['processes{app="/a",state="idle"}', "2"],
  ['processes{app="/a",state="active"}', "0"],
  ['processes{app="/a",state="busy"}', "1"],
  ['processes{app="/a",state="leaving"}', "1"],
  ['processes{app="/a",state="dead"}', "0"],
  ['processes{app="/a",state="spawning"}', "1"],
  ['sessions{app="/a"}', "3"],
  ['kept_sessions{app="/a"}', "1"],
  ['waiters{app="/a"}', "5"],
  ['spawn_pause_seconds{app="/a"}', "1.5"],
  ["gets_total", "100"],
  ['grants_total{process="idle"}', "60"],
  ['grants_total{process="busy"}', "30"],
  ['rejected_total{reason="queue_full"}', "1"],
  ['rejected_total{reason="timed_out"}', "2"],
  ['rejected_total{reason="spawn_failed"}', "3"],
  ['rejected_total{reason="cannot_connect"}', "4"],
  ["spawns_begun_total", "12"],
  ["recalls_total", "13"],
  ['recalls_answered_total{answer="close"}', "5"],
  ['recalls_answered_total{answer="keep"}', "4"],
  ['recalls_answered_total{answer="none"}', "3"],
  ['spawns_total{result="ok"}', "10"],
  ['spawns_total{result="failed"}', "2"],
  ['exits_total{reason="evicted"}', "6"],
  ['exits_total{reason="died"}', "0"],
])("%s is %s", (sample, value) => {
  expect(valueIn(openMetrics(snapshot), sample)).toBe(value);
});

test("no two roots share a label, whatever their bytes are", () => {
  const roots = ["/\xff", "/\xfe", "/\\xff", "/\\\\xff", "/\xc3\xa9", "/\\xc3\\xa9", "/\n", "/\\n"];
  const pool = poolWith({ applications: roots.map((root) => applicationWith(root, [])) });
  const labels = openMetrics(pool)
    .split("\n")
    .filter((line) => line.startsWith(`${METRIC_PREFIX}sessions{`));
  expect(new Set(labels).size).toBe(roots.length);
  expect(labels).toContain(`${METRIC_PREFIX}sessions{app="/é"} 0`);
});

test("families have different names and no line is given twice", () => {
  const lines = openMetrics(snapshot).split("\n");
  expect(new Set(lines).size).toBe(lines.length);
  expect(lines.at(-2)).toBe("# EOF");
});
