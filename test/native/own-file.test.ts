/** Logs and configuration of ours are never opened by somebody else's link. Only root can try. */
import { beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  lchownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

import { openOwn } from "../../src/native/own-file.ts";
import { findUser } from "../../src/native/process.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

let base = "";
let tenant = 0;

/** `ours` is root's; `theirs` is the directory of a tenant. */
beforeEach(() => {
  const user = findUser("daemon");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  tenant = user.uid;
  base = temporaryDirectory();
  for (const name of ["ours", "theirs", "theirs/logs"]) mkdirSync(join(base, name));
  writeFileSync(join(base, "ours/secret"), "secret");
  writeFileSync(join(base, "theirs/file"), "");
  for (const name of ["theirs", "theirs/logs", "theirs/file"]) give(name);
});

function give(name: string): void {
  lchownSync(join(base, name), tenant, tenant);
}

function link(name: string, target: string, isTheirs: boolean): void {
  symlinkSync(target, join(base, name));
  if (isTheirs) give(name);
}

function append(name: string): void {
  using file = openOwn(fromText(join(base, name)), "append");
  writeSync(file.number, "line\n");
}

test.each(["ours/new", "theirs/new", "theirs/logs/new", "theirs/file"])(
  "appends to a file, or makes it: %s",
  (name) => {
    append(name);
    append(name);
    expect(readFileSync(join(base, name), "utf8")).toBe("line\nline\n");
  },
);

test("follows links of ours, and those of others to what is theirs", () => {
  link("ours/log", join(base, "theirs/logs/one"), false);
  link("ours/other", "log", false);
  append("ours/other"); // one that leads nowhere
  expect(readFileSync(join(base, "theirs/logs/one"), "utf8")).toBe("line\n");
  link("theirs/two", "file", true);
  link("theirs/directory", "logs", true);
  link("ours/three", "secret", false);
  for (const name of ["theirs/two", "theirs/directory/new", "ours/three"]) append(name);
  expect(readFileSync(join(base, "ours/secret"), "utf8")).toBe("secretline\n");
});

test.each([
  ["the file", "theirs/log", "theirs/log", "../ours/secret"],
  ["a directory on the way", "theirs/dir/secret", "theirs/dir", "../ours"],
  ["a chain", "theirs/chain", "theirs/chain", "dir2/secret"],
])("refuses another's link to what is not theirs: %s", (_what, path, name, target) => {
  link("theirs/dir2", "../ours", true);
  link(name, target, true);
  expect(() => append(path)).toThrow(`belongs to user ${tenant}, and may lead anywhere`);
  expect(() => openOwn(fromText(join(base, path)), "read")).toThrow("may lead anywhere");
  expect(readFileSync(join(base, "ours/secret"), "utf8")).toBe("secret");
});

test("makes no file where another's link leads", () => {
  link("theirs/log", "../ours/new", true);
  link("theirs/dir", "../ours", true);
  expect(() => append("theirs/log")).toThrow("ENOENT");
  expect(() => append("theirs/dir/new")).toThrow("may lead anywhere");
  expect(existsSync(join(base, "ours/new"))).toBe(false);
});

test("refuses a second name of a file that is not theirs", () => {
  linkSync(join(base, "ours/secret"), join(base, "theirs/hard"));
  expect(() => append("theirs/hard")).toThrow("has a second name");
});

test("takes names of its own descriptors as they are", () => {
  using file = openOwn(fromText(join(base, "ours/new")), "append");
  using again = openOwn(fromText(`/proc/self/fd/${file.number}`), "append");
  writeSync(again.number, "again");
  expect(readFileSync(join(base, "ours/new"), "utf8")).toBe("again");
});
