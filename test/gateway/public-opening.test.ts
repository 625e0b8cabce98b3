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

import { openPlace, openPublicFile } from "../../src/gateway/files/public-opening.ts";
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
  const place = { path: "/", directory: `${root}/public`, within: root };
  using directory = openPlace(place, () => true);
  if (directory === undefined) return undefined;
  using file = openPublicFile(directory.number, place, fromText(name), () => true);
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

/** Alice's release, and what she shares between them. */
function shared(): ReturnType<typeof scene> {
  const made = scene();
  const { alice, place, link, base } = made;
  for (const path of ["alice/shared", "alice/shared/up", "alice/shared/up/a"]) place(path, alice);
  place("alice/shared/up/cat.txt", alice, "cat");
  place("alice/shared/up/a/dog.txt", alice, "dog");
  link("alice/1/public/up", join(base, "alice/shared/up"), alice);
  link("alice/1/public/near", "../../shared/up", alice);
  return made;
}

test("a link of the owner's leads out of public/ to a directory of his, whatever is below it", () => {
  const { base, alice, link } = shared();
  const root = join(base, "alice/1");
  for (const name of ["up/cat.txt", "near/cat.txt"]) expect(read(root, name)).toBe("cat");
  expect(read(root, "up/a/dog.txt")).toBe("dog");
  link("alice/shared/up/kitten.txt", "cat.txt", alice);
  expect(read(root, "up/kitten.txt")).toBe("cat");
  expect(read(link("alice/current", "1", alice), "up/cat.txt")).toBe("cat");
  expect(read(root, "up/none.txt")).toBeUndefined();
});

test("it leads to nobody else's, not even to root's, and to no file", () => {
  const { base, alice, bob, place, link } = shared();
  const root = join(base, "alice/1");
  place("roots", 0);
  place("roots/root.txt", 0, "root");
  link("alice/1/public/roots", join(base, "roots"), alice);
  expect(read(root, "roots/root.txt")).toBeUndefined();
  link("alice/1/public/bob", join(base, "bob/app/public"), alice);
  expect(read(root, "bob/secret.txt")).toBeUndefined();
  // Of another's link in her directory, and of root's to another's, neither.
  link("alice/1/public/his", join(base, "alice/shared/up"), bob);
  expect(read(root, "his/cat.txt")).toBeUndefined();
  link("alice/1/public/given", join(base, "bob/app/public"), 0);
  expect(read(root, "given/secret.txt")).toBeUndefined();
  link("alice/1/public/cat.txt", join(base, "alice/shared/up/cat.txt"), alice);
  expect(read(root, "cat.txt")).toBeUndefined();
  // Root's own word is another matter.
  link("alice/1/public/system", join(base, "roots"), 0);
  expect(read(root, "system/root.txt")).toBe("root");
});

test("behind it no further link leads out, and none to somebody else's", () => {
  const { base, alice, bob, place, link } = shared();
  const root = join(base, "alice/1");
  place("alice/config", alice);
  place("alice/config/password.txt", alice, "password");
  link("alice/shared/up/out", join(base, "alice/config"), alice);
  link("alice/shared/up/file.txt", "../../config/password.txt", alice);
  expect(read(root, "up/out/password.txt")).toBeUndefined();
  expect(read(root, "up/file.txt")).toBeUndefined();
  place("alice/shared/up/bobs.txt", bob, "bob's");
  link("alice/shared/up/hers.txt", "bobs.txt", alice);
  expect(read(root, "up/hers.txt")).toBeUndefined();
  // Two links one after the other are judged each.
  link("alice/away", join(base, "bob/app"), alice);
  link("alice/1/public/two", join(base, "alice/away/public"), alice);
  expect(read(root, "two/secret.txt")).toBeUndefined();
});
