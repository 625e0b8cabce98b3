/** Where the bytes of a spool go: the counts alone. */
import { expect, test } from "bun:test";

import { type Placing, SpoolAccount, SpoolLedger } from "../../src/gateway/bodies/spool-ledger.ts";

const kib = 1024;
const block = 4 * kib;

function ledger(limits: { memory?: number; max?: number; total?: [number, number] } = {}) {
  const { memory = 64 * kib, max = Number.POSITIVE_INFINITY, total = [1024 * kib, 0] } = limits;
  const account = new SpoolAccount(...total);
  return { account, ledger: new SpoolLedger({ memoryBytes: memory, maxBytes: max }, account) };
}

test("an append goes where there is room, as a whole", () => {
  const cases: [bytes: number, room: number, placing: Placing][] = [
    [1, 0, { to: "memory", newBytes: 4096 }],
    [1, 1, { to: "memory", newBytes: 0 }],
    [5000, 0, { to: "memory", newBytes: 5000 }],
    [5000, 100, { to: "memory", newBytes: 4900 }],
    [64 * kib, 0, { to: "memory", newBytes: 64 * kib }],
    [64 * kib + 1, 0, { to: "file" }],
  ];
  for (const [bytes, room, placing] of cases) {
    const { ledger: counts } = ledger({ total: [1024 * kib, 1024 * kib] });
    expect({ bytes, placing: counts.place(bytes, room, block) }).toEqual({ bytes, placing });
  }
});

test("behind a file that holds something, everything goes to the file", () => {
  const { ledger: counts } = ledger({ total: [1024 * kib, 1024 * kib] });
  counts.tookFile(100);
  expect(counts.place(1, 4000, block)).toEqual({ to: "file" });
  expect(counts.gaveFile()).toBe(100);
  expect(counts.place(1, 4000, block)).toEqual({ to: "memory", newBytes: 0 });
});

test("its own limit counts all bytes, the total those that are held", () => {
  const { ledger: counts, account } = ledger({ max: 10_000, total: [6000, 5000] });
  counts.tookMemory(6000, 6000);
  expect(counts.place(4001, 0, block)).toEqual({ to: "limit" });
  expect(counts.place(4000, 0, block)).toEqual({ to: "file" });
  account.diskBytes += 1001;
  expect(counts.place(4000, 0, block)).toEqual({ to: "total" });
  counts.gaveMemory(6000);
  expect(counts.place(4000, 0, block)).toEqual({ to: "memory", newBytes: 4096 });
  expect(counts.place(4001, 0, block)).toEqual({ to: "limit" });
  expect(account).toMatchObject({ memoryBytes: 0, diskBytes: 1001 });
});

test("of memory that is left, one may have a sixteenth, if that is more than what each may have", () => {
  const account = new SpoolAccount(16 * kib * kib, 0);
  const limits = { memoryBytes: 64 * kib, maxBytes: Number.POSITIVE_INFINITY };
  const taken: number[] = [];
  for (let spools = 0; spools < 100; spools += 1) {
    const counts = new SpoolLedger(limits, account);
    for (;;) {
      const placing = counts.place(kib, 0, kib);
      if (placing.to !== "memory") break;
      counts.tookMemory(kib, placing.newBytes);
    }
    taken.push(counts.appendedBytes / kib);
  }
  // What one takes it takes from its own share, too: a seventeenth.
  expect(taken[0]).toBe(963);
  expect(taken.slice(0, 40)).toEqual(taken.slice(0, 40).toSorted((a, b) => b - a));
  expect(taken[60]).toBe(64);
  expect(account.memoryBytes).toBeLessThanOrEqual(16 * kib * kib);
});
