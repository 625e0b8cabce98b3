/** The loaders' files: whole or not there, whatever happens to the disk or to them. */
import { expect, test } from "bun:test";
import {
  appendFileSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { LoaderDirectory } from "../../src/spawn/builtin/loader-files.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

/** A file system with room for some KiB. */
function tinyDisk(): { path: string } & Disposable {
  const path = temporaryDirectory();
  const run = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path]);
  if (!run.success) throw new Error(`this test needs root: ${run.stderr.toString()}`);
  return { path, [Symbol.dispose]: () => void Bun.spawnSync(["umount", path]) };
}

const files = { "small.rb": "one\n", "large.rb": "x".repeat(40_000) };

function contents(directory: string): Record<string, string> {
  const names = readdirSync(directory);
  return Object.fromEntries(
    names.map((name) => [name, readFileSync(join(directory, name), "utf8")]),
  );
}

test("a disk without room leaves no half of a file, and is fit again as soon as there is room", () => {
  using mounted = tinyDisk();
  const disk = mounted.path;
  writeFileSync(join(disk, "fill"), "x".repeat(40_000));
  const directory = new LoaderDirectory(disk);
  expect(() => directory.loader("rack", files)).toThrow(/write loader file '.*large.rb': ENOSPC/);
  const [name = ""] = readdirSync(disk).filter((entry) => entry !== "fill");
  expect(contents(join(disk, name, "rack"))).toEqual({ "small.rb": "one\n" });
  rmSync(join(disk, "fill"));
  expect(contents(directory.loader("rack", files))).toEqual(files);
  directory.remove();
});

test("a file that there is no room to write anew is whole or not there", () => {
  using mounted = tinyDisk();
  const directory = new LoaderDirectory(mounted.path);
  const path = directory.loader("rack", files);
  rmSync(join(path, "large.rb"));
  writeFileSync(join(mounted.path, "fill"), "x".repeat(40_000));
  expect(() => directory.loader("rack", files)).toThrow(/write loader file '.*large.rb': ENOSPC/);
  expect(contents(path)).toEqual({ "small.rb": "one\n" });
  rmSync(join(mounted.path, "fill"));
  expect(contents(directory.loader("rack", files))).toEqual(files);
  directory.remove();
});

test("whatever the umask, all may read it and nobody write it", () => {
  const before = process.umask(0o077);
  try {
    const directory = new LoaderDirectory(temporaryDirectory());
    const path = directory.loader("rack", files);
    const modes = [path, join(path, "small.rb")].map((one) => statSync(one).mode & 0o777);
    expect(modes).toEqual([0o755, 0o444]);
    directory.remove();
  } finally {
    process.umask(before);
  }
});

test.each([
  ["cut", (path: string) => writeFileSync(path, "x")],
  ["emptied", (path: string) => writeFileSync(path, "")],
  ["longer", (path: string) => appendFileSync(path, "more")],
  ["another of its length", (path: string) => writeFileSync(path, "two\n")],
  ["deleted", (path: string) => rmSync(path)],
])("a file that is %s is written anew", (_what, change) => {
  const directory = new LoaderDirectory(temporaryDirectory());
  const path = directory.loader("rack", files);
  change(join(path, "small.rb"));
  expect(contents(directory.loader("rack", files))).toEqual(files);
  expect(statSync(join(path, "small.rb")).mode & 0o777).toBe(0o444);
  directory.remove();
});

test("a file that is as it was is left alone", () => {
  const directory = new LoaderDirectory(temporaryDirectory());
  const before = statSync(join(directory.loader("rack", files), "small.rb"));
  const after = statSync(join(directory.loader("rack", files), "small.rb"));
  expect([after.ino, after.ctimeMs]).toEqual([before.ino, before.ctimeMs]);
  directory.remove();
});
