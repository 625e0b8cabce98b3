/** Files below a directory, and nothing that is not below it. */
import { beforeEach, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { openBeneath } from "../../src/native/beneath.ts";
import { SyscallError } from "../../src/native/errno.ts";
import { open } from "../../src/native/fd.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
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

/** The content; undefined where nothing is opened, `link` where one is on the way. */
function read(path: string): string | undefined {
  using directory = open(join(root, "below"), "directory");
  const file = openBeneath(directory.number, path);
  if (file === undefined || file === "link") return file;
  using held = file;
  return readFileSync(`/proc/self/fd/${held.number}`, "utf8");
}

test("opens what is below, by any way that stays below", () => {
  expect(read("file")).toBe("content");
  expect(read("deeper/../file")).toBe("content");
});

test("follows no link, and says that there is one", () => {
  symlinkSync("../file", join(root, "below/deeper/link"));
  symlinkSync("deeper", join(root, "below/directory"));
  symlinkSync("../outside", join(root, "below/relative"));
  symlinkSync("/proc/self/root", join(root, "below/magic"));
  for (const name of ["deeper/link", "directory/x", "relative", "magic/etc/passwd"]) {
    expect({ name, content: read(name) }).toEqual({ name, content: "link" });
  }
});

test("opens nothing that is not below, by whatever way", () => {
  for (const name of ["absent", "file/x", "x".repeat(300)]) {
    expect({ name, content: read(name) }).toEqual({ name, content: undefined });
  }
  for (const name of ["../outside", "../below/file", join(root, "below/file")]) {
    expect({ name, content: read(name) }).toEqual({ name, content: "link" });
  }
});

test("a path that holds a NUL, or is too long for the kernel, is the caller's mistake", () => {
  expect(() => read("a\0b")).toThrow(RangeError);
  expect(() => read("x".repeat(5000))).toThrow(RangeError);
});

test("an error that says nothing about the file is thrown", () => {
  expect(() => openBeneath(-1, "file")).toThrow(SyscallError);
});

test("the same after many calls, with collections between them", () => {
  using directory = open(join(root, "below"), "directory");
  for (let i = 0; i < 60_000; i += 1) {
    const isThere = i % 7 === 0;
    const file = openBeneath(directory.number, isThere ? "file" : `absent-${i}`);
    if (file instanceof OwnedFd) file.close();
    if (file instanceof OwnedFd !== isThere) throw new Error(`call ${i} answered otherwise`);
    if (i % 20_000 === 0) Bun.gc(true);
  }
});
