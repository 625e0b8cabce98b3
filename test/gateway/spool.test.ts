/**
 * Spools, on real files: against a naive model in seeded random runs, and where there is no space.
 * SPOOL_SEED=n repeats one run.
 */
import { afterEach, expect, test } from "bun:test";
import { mkdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";

import { Spool, SpoolError } from "../../src/gateway/bodies/spool.ts";
import { SpoolAccount } from "../../src/gateway/bodies/spool-ledger.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, exhaustDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
countDescriptors();

const kib = 1024;
const account = new SpoolAccount(512 * kib, 64 * 1024 * kib);
/** For spools that are only files. */
const noMemory = new SpoolAccount(0, 64 * 1024 * kib);

afterEach(async () => {
  await until(
    "all is given back",
    () => account.memoryBytes === 0 && account.diskBytes + noMemory.diskBytes === 0,
  );
});

function spool(options: { memory?: number; max?: number; rewinds?: boolean; in?: string } = {}) {
  const made = new Spool({
    memoryBytes: options.memory ?? 64 * kib,
    maxBytes: options.max ?? Number.POSITIVE_INFINITY,
    rewinds: options.rewinds ?? false,
    account: options.memory === 0 ? noMemory : account,
    directory: options.in ?? temporaryDirectory(),
  });
  return Object.assign(made, { [Symbol.dispose]: () => made.close() });
}

const period = 251;
const pattern = Buffer.from(new Uint8Array(period + 256 * kib).map((_, index) => index % period));

/** Bytes that tell where they are from. */
function bytesFrom(start: number, length: number): Buffer {
  const at = start % period;
  if (at + length <= pattern.length) return pattern.subarray(at, at + length);
  return Buffer.from(new Uint8Array(length).map((_, index) => (start + index) % period));
}

function readAll(from: Spool): Buffer {
  const pieces: Buffer[] = [];
  for (;;) {
    const piece = from.peek();
    if (piece.length === 0) return Buffer.concat(pieces);
    pieces.push(Buffer.from(piece));
    from.skip(piece.length);
  }
}

/** What its file is, for a spool that is the only one: O_TMPFILE names it by its number. */
function fileNames(): string[] {
  return [...openDescriptors().keys()]
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return "";
      }
    })
    .filter((name) => /\/#\d+ \(deleted\)$/.test(name));
}

test("up to the threshold bytes are in memory, then in a file that has no name", () => {
  const directory = temporaryDirectory();
  using held = spool({ in: directory });
  held.append(bytesFrom(0, 64 * kib));
  expect(fileNames()).toEqual([]);
  held.append(bytesFrom(64 * kib, 1));
  expect(fileNames()).toMatchObject([expect.stringContaining(directory)]);
  expect(account).toMatchObject({ memoryBytes: 64 * kib, diskBytes: 1 });
  expect(readAll(held).equals(bytesFrom(0, 64 * kib + 1))).toBe(true);
});

test("what is read is given back, and memory is used again", () => {
  using held = spool();
  held.append(bytesFrom(0, 100 * kib));
  expect(account.diskBytes).toBe(100 * kib);
  expect(readAll(held).length).toBe(100 * kib);
  expect(account.diskBytes).toBe(0);
  held.append(bytesFrom(0, 1));
  expect(account).toMatchObject({ memoryBytes: 4096, diskBytes: 0 });
  expect(fileNames()).toEqual([]);
});

test("a sender of single bytes costs no more memory than its bytes, rounded up", () => {
  using held = spool();
  for (let at = 0; at < 5000; at += 1) held.append(bytesFrom(at, 1));
  expect(account.memoryBytes).toBe(8192);
  expect(readAll(held).equals(bytesFrom(0, 5000))).toBe(true);
});

test("one that rewinds keeps all, and gives it again and again", () => {
  using held = spool({ rewinds: true });
  for (const length of [10, 5000, 60_000, 200_000]) {
    held.append(bytesFrom(held.appendedBytes, length));
    expect(readAll(held).length).toBe(length);
    held.rewind();
    expect(held.unreadBytes).toBe(held.appendedBytes);
    expect(readAll(held).equals(bytesFrom(0, held.appendedBytes))).toBe(true);
  }
});

test("the limit is exact, and what is refused has changed nothing", () => {
  using held = spool({ max: 100_000 });
  held.append(bytesFrom(0, 99_999));
  expect(whyOf(() => held.append(bytesFrom(0, 2)))).toContain("its limit is reached");
  held.append(bytesFrom(99_999, 1));
  expect(readAll(held).equals(bytesFrom(0, 100_000))).toBe(true);
});

test("the worker's total bounds all spools together, memory and disk apart", () => {
  const spools = Array.from({ length: 10 }, () => spool());
  for (const held of spools) held.append(bytesFrom(0, 64 * kib));
  expect(account).toMatchObject({ memoryBytes: 512 * kib, diskBytes: 128 * kib });
  using more = spool();
  for (let at = 0; at < 1022; at += 1) more.append(bytesFrom(0, 64 * kib));
  expect(whyOf(() => more.append(bytesFrom(0, 1)))).toContain("the worker's spools are reached");
  for (const held of spools) held.close();
  more.append(bytesFrom(0, 1));
});

test("a large file is closed in the background, once, and then given back", async () => {
  const held = spool();
  for (let at = 0; at < 32; at += 1) held.append(bytesFrom(0, 64 * kib));
  held.close();
  held.close();
  await until("the file is closed", () => fileNames().length === 0);
});

test("no descriptor, no directory: the append fails, and later ones may succeed", () => {
  const directory = join(temporaryDirectory(), "absent");
  using held = spool({ memory: 0, in: directory });
  expect(whyOf(() => held.append(bytesFrom(0, 10)))).toStartWith("spool 10 bytes to a file in ");
  mkdirSync(directory);
  {
    using _none = exhaustDescriptors();
    expect(whyOf(() => held.append(bytesFrom(0, 10)))).toStartWith("spool 10 bytes to a file in ");
  }
  held.append(bytesFrom(0, 10));
  expect(readAll(held).equals(bytesFrom(0, 10))).toBe(true);
});

test("used after its end, or moved past it, is a mistake that throws", () => {
  const held = spool();
  held.append(bytesFrom(0, 10));
  expect(() => held.skip(11)).toThrow(RangeError);
  expect(() => held.rewind()).toThrow("rewound");
  held.close();
  expect(() => held.append(bytesFrom(0, 1))).toThrow("closed");
  expect(() => held.peek()).toThrow("closed");
});

test("no space on the device: nothing of the append is taken, what was before stays", () => {
  const directory = temporaryDirectory();
  const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory]);
  // Only root may mount, and not in every container: there is no small device there.
  if (mounted.exitCode !== 0) return;
  try {
    using held = spool({ memory: 0, in: directory });
    let taken = 0;
    let why = "";
    while (why === "" && taken < 64) {
      why = whyOf(() => held.append(bytesFrom(taken * 10_000, 10_000)));
      if (why === "") taken += 1;
    }
    expect(why).toContain("ENOSPC");
    expect(taken).toBeGreaterThan(20);
    expect(held.appendedBytes).toBe(taken * 10_000);
    expect(readAll(held).equals(bytesFrom(0, taken * 10_000))).toBe(true);
    // All was read, so its space is free again.
    held.append(bytesFrom(0, 10_000));
  } finally {
    Bun.spawnSync(["umount", directory]);
  }
});

/** What a SpoolError says; empty: there was none. */
function whyOf(act: () => void): string {
  try {
    act();
    return "";
  } catch (error) {
    if (error instanceof SpoolError) return error.message;
    throw error;
  }
}

function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    // A linear congruential generator (Numerical Recipes).
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const sizes = [1, 10, 4095, 4096, 4097, 20_000, 65_536, 70_000, 150_000];

function run(seed: number): void {
  const random = randomOf(seed);
  const rewinds = random(2) === 0;
  const memory = [0, 4096, 10_000, 64 * kib][random(4)] ?? 0;
  using held = spool({ memory, rewinds });
  let appended = 0;
  let read = 0;
  for (let step = 0; step < 40; step += 1) {
    const action = random(10);
    if (action < 5) {
      const length = sizes[random(sizes.length)] ?? 0;
      held.append(bytesFrom(appended, length));
      appended += length;
    } else if (action < 9) {
      const piece = held.peek().subarray(0, 1 + random(100_000));
      if (piece.length === 0) expect(read).toBe(appended);
      expect(bytesFrom(read, piece.length).equals(piece)).toBe(true);
      const taken = random(piece.length + 1);
      held.skip(taken);
      read += taken;
    } else if (rewinds) {
      held.rewind();
      read = 0;
    }
    expect(held).toMatchObject({ appendedBytes: appended, unreadBytes: appended - read });
  }
  expect(readAll(held).equals(bytesFrom(read, appended - read))).toBe(true);
}

test("gives back in order what it was given, however appends and reads alternate", () => {
  const only = process.env["SPOOL_SEED"];
  const seeds = only === undefined ? Array.from({ length: 200 }, (_, n) => n + 1) : [Number(only)];
  for (const seed of seeds) {
    try {
      run(seed);
    } catch (error) {
      throw new Error(`SPOOL_SEED=${seed} fails: ${String(error)}`, { cause: error });
    }
  }
});

test("a piece that is kept as it came holds on to little else", () => {
  for (const length of [1, 20 * kib, 200 * kib]) {
    using kept = spool({ memory: 256 * kib });
    const read = Buffer.from(new Uint8Array(300 * kib).fill(7));
    kept.append(read.subarray(read.length - length), "ours");
    const { buffer } = kept.peek();
    expect(buffer.byteLength).toBeLessThan(2 * Math.max(length, 16 * kib));
    expect(Buffer.from(kept.peek())).toEqual(read.subarray(read.length - length));
    expect(account.memoryBytes).toBeGreaterThanOrEqual(length);
  }
});
