/** Times, sizes, and what somebody may have meant. */
import { expect, test } from "bun:test";

import { nearestWord } from "../../src/cli/nearest-word.ts";
import { parseSize, parseTime, showSize, showTime } from "../../src/cli/units.ts";

test("times need a unit, and may have decimals", () => {
  expect(["500ms", "10s", "1.5s", "2m", "1h", "2d", "0s"].map(parseTime)).toEqual([
    500, 10_000, 1500, 120_000, 3_600_000, 172_800_000, 0,
  ]);
  for (const text of ["10", "s", "-1s", "1 s", "1w", "1.2345s", "1e3s", "9999999999s", ""]) {
    expect(parseTime(text)).toBeUndefined();
  }
});

test("sizes are bytes, or have a unit of 1024 and its powers", () => {
  expect(["0", "100", "64k", "10M", "1g", "2kb"].map(parseSize)).toEqual([
    0, 100, 65_536, 10_485_760, 1_073_741_824, 2048,
  ]);
  for (const text of ["k", "1.5m", "-1", "10x", "1 k", ""]) expect(parseSize(text)).toBeUndefined();
});

test("both are shown in the largest unit that fits", () => {
  expect([0, 1, 1500, 10_000, 120_000, 7_200_000].map(showTime)).toEqual([
    "0s",
    "1ms",
    "1500ms",
    "10s",
    "2m",
    "2h",
  ]);
  expect([0, 1, 1024, 1536, 2 ** 20, 2 ** 31].map(showSize)).toEqual([
    "0",
    "1",
    "1k",
    "1536",
    "1m",
    "2g",
  ]);
});

test("a word that is like a known one is taken for it, another is not", () => {
  const known = ["listen", "workers", "environment", "max", "pool"];
  expect(nearestWord("lisen", known)).toBe("listen");
  expect(nearestWord("worker", known)).toBe("workers");
  expect(nearestWord("enviroment", known)).toBe("environment");
  expect(nearestWord("mx", known)).toBe("max");
  expect(nearestWord("zebra", known)).toBeUndefined();
  expect(nearestWord("", known)).toBeUndefined();
  expect(nearestWord("word", [])).toBeUndefined();
});
