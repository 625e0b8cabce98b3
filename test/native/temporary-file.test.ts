/** Files without a name: whatever the file system can do, nobody else finds or opens them. */
import { beforeEach, expect, test } from "bun:test";
import { chmodSync, fstatSync, readdirSync, readSync, writeSync } from "node:fs";

import { SyscallError } from "../../src/native/errno.ts";
import { openTemporary } from "../../src/native/temporary-file.ts";
import { countDescriptors, descriptorFlags, O_CLOEXEC } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
countDescriptors();

let directory = "";

beforeEach(() => {
  directory = temporaryDirectory();
});

for (const form of ["unnamed", "named"] as const) {
  test(`${form}: it is written and read back, and has no name and no reader but its owner`, () => {
    using file = openTemporary(directory, form);
    const { nlink, mode, size } = fstatSync(file.number);
    expect({ nlink, mode: mode & 0o777, size }).toEqual({ nlink: 0, mode: 0o600, size: 0 });
    expect(readdirSync(directory)).toEqual([]);
    expect(descriptorFlags(file.number) & O_CLOEXEC).toBe(O_CLOEXEC);
    writeSync(file.number, "content", 10);
    const back = Buffer.alloc(17);
    expect(readSync(file.number, back, 0, 17, 0)).toBe(17);
    expect(back.toString("latin1")).toBe(`${"\0".repeat(10)}content`);
  });

  test(`${form}: a directory that is not there is an error that names it`, () => {
    expect(() => openTemporary(`${directory}/absent`, form)).toThrow(
      `open a temporary file on ${directory}/absent: ENOENT`,
    );
  });
}

test("a directory that takes no files is an error, not a file elsewhere", () => {
  chmodSync(directory, 0o500);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    expect(() => openTemporary(directory)).toThrow(SyscallError);
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});
