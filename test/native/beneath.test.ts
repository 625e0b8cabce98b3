/** Files below a directory, and nothing that is not below it. */
import { beforeEach, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { openBeneath } from "../../src/native/beneath.ts";
import { SyscallError } from "../../src/native/errno.ts";
import { open } from "../../src/native/fd.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
countDescriptors();

let root = "";

beforeEach(() => {
  root = temporaryDirectory();
  mkdirSync(join(root, "below/deeper"), { recursive: true });
  writeFileSync(join(root, "below/file"), "content");
  writeFileSync(join(root, "outside"), "secret");
});

/** The content, or undefined where nothing is opened. */
function read(path: string): string | undefined {
  using directory = open(join(root, "below"), "directory");
  using file = openBeneath(directory.number, path, "read");
  return file === undefined ? undefined : readFileSync(`/proc/self/fd/${file.number}`, "utf8");
}

test("opens what is below, by any way that stays below", () => {
  symlinkSync("../file", join(root, "below/deeper/link"));
  expect(read("file")).toBe("content");
  expect(read("deeper/../file")).toBe("content");
  expect(read("deeper/link")).toBe("content");
});

test("opens nothing that is not below, by whatever way", () => {
  symlinkSync("../outside", join(root, "below/relative"));
  symlinkSync(join(root, "below/file"), join(root, "below/absolute"));
  symlinkSync("/proc/self/root", join(root, "below/magic"));
  symlinkSync("loop", join(root, "below/loop"));
  const names = ["relative", "absolute", "magic/etc/passwd", "loop", "../outside", "../below/file"];
  for (const name of [...names, join(root, "below/file"), "absent", "file/x", "x".repeat(300)]) {
    expect({ name, content: read(name) }).toEqual({ name, content: undefined });
  }
});

test("a path that holds a NUL, or is too long for the kernel, is the caller's mistake", () => {
  expect(() => read("a\0b")).toThrow(RangeError);
  expect(() => read("x".repeat(5000))).toThrow(RangeError);
});

test("an error that says nothing about the file is thrown", () => {
  expect(() => openBeneath(-1, "file", "read")).toThrow(SyscallError);
});

test("opens directories for further paths only", () => {
  using directory = open(root, "directory");
  using below = openBeneath(directory.number, "below", "directory");
  expect(below).toBeDefined();
  expect(openBeneath(directory.number, "outside", "directory")).toBeUndefined();
  using file = openBeneath(below?.number ?? -1, "file", "read");
  expect(file).toBeDefined();
});

test("the same after many calls, with collections between them", () => {
  using directory = open(join(root, "below"), "directory");
  for (let i = 0; i < 60_000; i += 1) {
    const isThere = i % 7 === 0;
    using file = openBeneath(directory.number, isThere ? "file" : `absent-${i}`, "read");
    if ((file !== undefined) !== isThere) throw new Error(`call ${i} answered otherwise`);
    if (i % 20_000 === 0) Bun.gc(true);
  }
});
