// The benchmark: its arithmetic on numbers worked out by hand, and one short run of the real thing
// against the real server.

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare, median, type Row, table } from "../../scripts/bench/rows.ts";
import { ROOT } from "./tree.ts";

const MEASUREMENT = { title: "get", args: [], fields: { perSecond: "per second" } };
const runs = (...values: number[]) => values.map((perSecond) => ({ perSecond }));

test("the median is the middle one, or the mean of the middle two", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(() => median([])).toThrow("median of nothing");
});

test("a row compares medians, not means", () => {
  const [row] = compare(MEASUREMENT, runs(10, 1000, 20), runs(40, 39, 41));
  expect(row).toMatchObject({ server: 20, baseline: 40, ratio: 0.5 });
});

test("without a baseline, or with one that measured nothing, there is no ratio", () => {
  expect(compare(MEASUREMENT, runs(1), [])[0]?.ratio).toBeUndefined();
  expect(compare(MEASUREMENT, runs(1), runs(0))[0]?.ratio).toBeUndefined();
});

test("a run that lacks a field is an error", () => {
  expect(() => compare(MEASUREMENT, [{}], [])).toThrow("a run measured no perSecond");
});

test("the table lines its columns up and names a measurement once", () => {
  const fields = { perSecond: "per second", p50Us: "p50, µs" };
  const numbers = { perSecond: 12345.6, p50Us: 7.25 };
  const rows = compare({ ...MEASUREMENT, fields }, [numbers], [{ perSecond: 10000, p50Us: 0 }]);
  expect(table(rows, true).split("\n")).toEqual([
    "measurement  quantity    server  baseline  ratio",
    "get          per second  12,346    10,000   1.23",
    "             p50, µs       7.25         0      –",
  ]);
});

test("a short run against the real server measures something and leaves nothing behind", async () => {
  const directory = mkdtempSync(join(tmpdir(), "pool-bench-test-"));
  try {
    const json = join(directory, "report.json");
    const short = ["--only", "get", "--clients", "2", "--repeats", "1", "--seconds", "0.2"];
    const command = [process.execPath, join(ROOT, "scripts/bench.ts"), ...short, "--json", json];
    const env = { ...process.env, TMPDIR: directory };
    const child = Bun.spawn(command, { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    expect(await child.stderr.text()).toEndWith("measured get and close, 2 clients\n");
    expect(await child.exited).toBe(0);
    const report = (await Bun.file(json).json()) as { rows: Row[] };
    expect(report.rows.map(({ server }) => server > 0)).toEqual([true, true, true, true]);
    expect([...new Bun.Glob("*").scanSync({ cwd: directory, onlyFiles: false })]).toEqual([
      "report.json",
    ]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
