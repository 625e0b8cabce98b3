/** Where the bytes of a spool go: the counts alone. */
import { expect, test } from "bun:test";

import { type Placing, SpoolAccount, SpoolLedger } from "../../src/gateway/bodies/spool-ledger.ts";

const kib = 1024;

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
    expect({ bytes, placing: counts.place(bytes, room) }).toEqual({ bytes, placing });
  }
});

test("behind a file that holds something, everything goes to the file", () => {
  const { ledger: counts } = ledger({ total: [1024 * kib, 1024 * kib] });
  counts.tookFile(100);
  expect(counts.place(1, 4000)).toEqual({ to: "file" });
  expect(counts.gaveFile()).toBe(100);
  expect(counts.place(1, 4000)).toEqual({ to: "memory", newBytes: 0 });
});

test("its own limit counts all bytes, the total those that are held", () => {
  const { ledger: counts, account } = ledger({ max: 10_000, total: [6000, 5000] });
  counts.tookMemory(6000, 6000);
  expect(counts.place(4001, 0)).toEqual({ to: "limit" });
  expect(counts.place(4000, 0)).toEqual({ to: "file" });
  account.addDisk(1001);
  expect(counts.place(4000, 0)).toEqual({ to: "total" });
  counts.gaveMemory(6000);
  expect(counts.place(4000, 0)).toEqual({ to: "memory", newBytes: 4096 });
  expect(counts.place(4001, 0)).toEqual({ to: "limit" });
  expect(account).toMatchObject({ memoryBytes: 0, diskBytes: 1001 });
});
