/**
 * Files of `public/` belong to the application: a link shows nothing of somebody else's, whatever
 * the gateway may read. Only root can try.
 */
import { expect, test } from "bun:test";
import {
  chmodSync,
  lchownSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { openPublicDirectory, openPublicFile } from "../../src/gateway/files/public-opening.ts";
import { findUser } from "../../src/native/process.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

function uidOf(name: string): number {
  const user = findUser(name);
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  return user.uid;
}

/** The content of a file of `public/`; undefined where there is none for visitors. */
function read(root: string, name: string): string | undefined {
  using directory = openPublicDirectory(fromText(root), () => true);
  if (directory === undefined) return undefined;
  using file = openPublicFile(directory.number, fromText(name), () => true);
  return file === undefined ? undefined : readFileSync(`/proc/self/fd/${file.number}`, "utf8");
}

/** Bob's application in his closed directory, and Alice's home. */
function scene() {
  const [alice, bob] = [uidOf("daemon"), uidOf("bin")];
  const base = temporaryDirectory();
  const place = (path: string, uid: number, text?: string) => {
    const at = join(base, path);
    if (text === undefined) mkdirSync(at);
    else writeFileSync(at, text);
    lchownSync(at, uid, uid);
    return at;
  };
  const link = (path: string, target: string, uid: number) => {
    symlinkSync(target, join(base, path));
    lchownSync(join(base, path), uid, uid);
    return join(base, path);
  };
  for (const path of ["bob", "bob/app", "bob/app/public"]) place(path, bob);
  place("bob/app/public/secret.txt", bob, "secret");
  chmodSync(join(base, "bob"), 0o700);
  for (const path of ["alice", "alice/1", "alice/1/public"]) place(path, alice);
  place("alice/1/public/page.txt", alice, "page");
  return { base, alice, bob, place, link };
}

test("a root that is switched to somebody else's application shows none of its files", () => {
  const { base, alice, bob, link } = scene();
  const theirs = link("alice/current", join(base, "bob/app"), alice);
  expect(read(theirs, "secret.txt")).toBeUndefined();
  // His own link, and root's, are another matter.
  expect(read(link("bob/current", "app", bob), "secret.txt")).toBe("secret");
  expect(read(link("site", "bob/app", 0), "secret.txt")).toBe("secret");
});

test("a link in the middle of a root's path shows nothing of somebody else's", () => {
  const { base, alice, link } = scene();
  link("alice/x", join(base, "bob"), alice);
  expect(read(join(base, "alice/x/app"), "secret.txt")).toBeUndefined();
});

test("a link to the current release shows its files", () => {
  const { alice, link } = scene();
  expect(read(link("alice/current", "1", alice), "page.txt")).toBe("page");
});

test("links below public/ count by their owners too", () => {
  const { base, alice, bob, place, link } = scene();
  place("alice/1/public/bobs.txt", bob, "bob's");
  link("alice/1/public/hers.txt", "page.txt", alice);
  link("alice/1/public/his.txt", "bobs.txt", alice);
  expect(read(join(base, "alice/1"), "hers.txt")).toBe("page");
  expect(read(join(base, "alice/1"), "his.txt")).toBeUndefined();
});
