/** Whom an application may run as: never as root because something else was impossible. */
import { expect, test } from "bun:test";

import type { User } from "../../src/native/process.ts";
import { chooseUser, type UserDatabase } from "../../src/spawn/builtin/privileges.ts";
import { fromText } from "../../src/wire/bytes.ts";
import { errorOf } from "../helpers/errors.ts";

function user(name: string, uid: number): User {
  return { name, uid, gid: uid, home: `/home/${name}`, shell: "/bin/sh" };
}

const known = [user("root", 0), user("toor", 0), user("alice", 1000), user("nobody", 65_534)];

function users(isRoot = true): UserDatabase {
  return {
    isRoot,
    byName: (name) => known.find((entry) => entry.name === name),
    byId: (uid) => known.find((entry) => entry.uid === uid),
  };
}

function choose(owner: number, lowestUser: string, lowerPrivilege = true, isRoot = true) {
  const request = { lowerPrivilege, lowestUser: fromText(lowestUser) };
  return chooseUser(request, owner, users(isRoot))?.name;
}

test("runs an application as the owner of its startup file", () => {
  expect(choose(1000, "nobody")).toBe("alice");
});

test("runs root's applications, and those of unknown users, as the lowest user", () => {
  expect(choose(0, "nobody")).toBe("nobody");
  expect(choose(4711, "nobody")).toBe("nobody");
});

test("leaves everything as it is when nobody asks for less, or the server has no choice", () => {
  expect(choose(1000, "nobody", false)).toBeUndefined();
  expect(choose(1000, "nobody", true, false)).toBeUndefined();
  expect(choose(0, "no such user", true, false)).toBeUndefined();
});

test.each([
  [
    0,
    "no such user",
    "belongs to root, and the user to run as instead, 'no such user', does not exist",
  ],
  [0, "", "belongs to root, and the user to run as instead, '', does not exist"],
  [4711, "ghost", "belongs to user 4711, who is unknown, and the user to run as instead, 'ghost'"],
  [0, "root", "'root', is root"],
  [4711, "toor", "'toor', is root"],
])("refuses rather than to run a file of user %d as root (lowest user '%s')", (owner, low, why) => {
  expect(errorOf(() => choose(owner, low)).message).toContain(why);
});
