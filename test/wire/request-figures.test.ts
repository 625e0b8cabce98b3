/** Buckets of times, and what is read out of them. */
import { expect, test } from "bun:test";

import { bucketEndsMs, bucketOf, quantileMs } from "../../src/wire/request-figures.ts";
import { randomNumbers } from "./support.ts";

test("a time is counted in the first bucket that does not end before it", () => {
  for (const [bucket, end] of bucketEndsMs.entries()) {
    expect(bucketOf(end)).toBe(bucket);
    expect(bucketOf(end + 0.001)).toBe(bucket + 1);
  }
  expect(bucketOf(0)).toBe(0);
  expect(bucketOf(1e9)).toBe(bucketEndsMs.length);
});

test("a quantile lies in the bucket in which the sorted times have it", () => {
  const seed = Date.now();
  const random = randomNumbers(seed);
  for (let round = 0; round < 200; round += 1) {
    const times = Array.from({ length: 1 + random(300) }, () => random(12_000_000) / 1e3);
    const counts = Array.from({ length: bucketEndsMs.length + 1 }, () => 0);
    for (const ms of times) counts[bucketOf(ms)] = (counts[bucketOf(ms)] ?? 0) + 1;
    times.sort((a, b) => a - b);
    for (const part of [0.01, 0.5, 0.99, 1]) {
      const exact = times[Math.ceil(part * times.length) - 1] ?? 0;
      const read = quantileMs({ counts, sumMs: 0 }, part) ?? -1;
      const past = bucketOf(exact) === bucketEndsMs.length;
      if (past) expect(read).toBe(10_000);
      else expect([seed, bucketOf(read)]).toEqual([seed, bucketOf(exact)]);
    }
  }
});

test("of no times there is none", () => {
  const counts = Array.from({ length: bucketEndsMs.length + 1 }, () => 0);
  expect(quantileMs({ counts, sumMs: 0 }, 0.99)).toBeNull();
});
