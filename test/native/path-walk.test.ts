/** Walking a path step by step leads where the kernel's way leads, and tells of each link. */
import { beforeEach, expect, test } from "bun:test";
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { identityOf, open } from "../../src/native/fd.ts";
import { last, PathWalk } from "../../src/native/path-walk.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
countDescriptors();

let root = "";

beforeEach(() => {
  root = temporaryDirectory();
  mkdirSync(join(root, "a/b/c"), { recursive: true });
  writeFileSync(join(root, "a/b/file"), "content");
  symlinkSync("b/file", join(root, "a/relative"));
  symlinkSync(join(root, "a/b"), join(root, "a/absolute"));
  symlinkSync("../../a/absolute/../relative", join(root, "a/b/winding"));
  symlinkSync("loop", join(root, "a/loop"));
  symlinkSync("nowhere", join(root, "a/dangling"));
});

/** Identity of what a path leads to, for the kernel. */
function kernels(path: string): string {
  using fd = open(realpathSync(path), "path");
  return identityOf(fd.number);
}

test.each([
  "a/b/file",
  "a//b/./c/../file",
  "a/relative",
  "a/absolute/file",
  "a/b/winding",
  "a/b/c/../../..",
  "a/absolute/c/../../relative",
])("leads where the kernel is led: %s", (path) => {
  using walk = new PathWalk();
  const { fd } = last(walk.absolute(join(root, "x/..", path).replace("x/../", "")));
  expect(identityOf(fd.number)).toBe(kernels(join(root, path)));
  using other = new PathWalk();
  const place = other.from(other.absolute(root), path);
  expect(identityOf(last(place).fd.number)).toBe(kernels(join(root, path)));
});

test("tells of each link and what it leads to in the end", () => {
  using walk = new PathWalk();
  walk.absolute(join(root, "a/b/winding"));
  const shown = walk.links.map(({ link, target }) => [link.path, target.path]);
  expect(shown).toEqual([
    [`${root}/a/absolute`, `${root}/a/b`],
    [`${root}/a/relative`, `${root}/a/b/file`],
    [`${root}/a/b/winding`, `${root}/a/b/file`],
  ]);
});

test.each([
  ["a/loop", "ELOOP"],
  ["a/dangling", "ENOENT"],
  ["a/b/file/x", "ENOTDIR"],
  ["a/absent", "ENOENT"],
])("says what keeps it: %s", (path, code) => {
  using walk = new PathWalk();
  expect(() => walk.absolute(join(root, path))).toThrow(code);
});

test.each(["../b/file", "..", "absolute/file", "b/winding", "b/c/../../../a"])(
  "does not leave a directory when it is not to: %s",
  (path) => {
    using walk = new PathWalk();
    const place = walk.absolute(join(root, "a"));
    expect(() => walk.from(place, path, true)).toThrow("EXDEV");
  },
);
