/** A socket held by descriptor: whatever happens to its name, it is this one that is meant. */
import { expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";

import { PinnedSocket } from "../../src/native/pinned-socket.ts";
import { listenUnix, pathAddress, receive } from "../../src/native/socket.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

function listen(path: string): OwnedFd {
  return listenUnix(pathAddress(path), 8);
}

/** Connects and tells whether somebody holds the other end: a closed listener's backlog is gone. */
function connects(pinned: PinnedSocket): boolean {
  const stream = pinned.connect();
  if (stream === "full") throw new Error("full");
  using held = stream;
  return receive(held.number, 1) === "empty";
}

test("connects to the socket it was opened on after the name has become another's", () => {
  const path = `${temporaryDirectory()}/s`;
  using first = listen(path);
  using pinned = new PinnedSocket(path);
  unlinkSync(path);
  using second = listen(path);
  expect(connects(pinned)).toBe(true);
  first.close();
  expect(errorCode(() => pinned.connect())).toBe("ECONNREFUSED");
  expect(second.open).toBe(true);
});

test("connects although the name is gone, or its path is longer than a socket's address", () => {
  const directory = temporaryDirectory();
  using listener = listen(`${directory}/s`);
  void listener;
  const deep = `${directory}/${"d".repeat(200)}`;
  mkdirSync(deep);
  renameSync(`${directory}/s`, `${deep}/s`);
  using pinned = new PinnedSocket(`${deep}/s`);
  expect(connects(pinned)).toBe(true);
  rmSync(deep, { recursive: true });
  expect(connects(pinned)).toBe(true);
});

test("a symbolic link is not followed, and no other file passes for a socket", () => {
  const directory = temporaryDirectory();
  using listener = listen(`${directory}/s`);
  void listener;
  symlinkSync("s", `${directory}/link`);
  writeFileSync(`${directory}/file`, "");
  for (const name of ["link", "file", "."]) {
    const error = errorOf(() => new PinnedSocket(`${directory}/${name}`));
    expect(error.message).toBe(`${directory}/${name} is not a socket`);
  }
  expect(errorCode(() => new PinnedSocket(`${directory}/absent`))).toBe("ENOENT");
});

test("mode and owner are changed on the socket held, not on what the name means by now", () => {
  const directory = temporaryDirectory();
  const path = `${directory}/s`;
  using listener = listen(path);
  void listener;
  using pinned = new PinnedSocket(path);
  renameSync(path, `${directory}/moved`);
  writeFileSync(path, "", { mode: 0o644 });
  pinned.changeMode(0o600);
  pinned.changeOwner(process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  expect(lstatSync(`${directory}/moved`).mode & 0o777).toBe(0o600);
  expect(statSync(path).mode & 0o777).toBe(0o644);
});

test("knows the owner of the socket", () => {
  const path = `${temporaryDirectory()}/s`;
  using listener = listen(path);
  void listener;
  using pinned = new PinnedSocket(path);
  expect(pinned.owner).toBe(process.geteuid?.() ?? -1);
});

test("only a root may give a socket to another user, and he may", () => {
  const path = `${temporaryDirectory()}/s`;
  using listener = listen(path);
  void listener;
  using pinned = new PinnedSocket(path);
  if (process.geteuid?.() === 0) {
    pinned.changeOwner(12_345, 12_345);
    expect(lstatSync(path).uid).toBe(12_345);
  } else {
    expect(errorCode(() => pinned.changeOwner(0, 0))).toBe("EPERM");
  }
});

test("deletes its name while it is its own, and says so", () => {
  const path = `${temporaryDirectory()}/s`;
  using listener = listen(path);
  void listener;
  using pinned = new PinnedSocket(path);
  expect(pinned.unlinkName(path)).toBe(true);
  expect(existsSync(path)).toBe(false);
});

test("leaves a name alone that is gone or means something else", () => {
  const directory = temporaryDirectory();
  mkdirSync(`${directory}/sub`);
  const path = `${directory}/sub/s`;
  using listener = listen(path);
  void listener;
  using pinned = new PinnedSocket(path);
  renameSync(path, `${directory}/moved`);
  expect(pinned.unlinkName(path)).toBe(false);
  writeFileSync(path, "precious");
  expect(pinned.unlinkName(path)).toBe(false);
  expect(existsSync(path)).toBe(true);
  unlinkSync(path);
  symlinkSync("../moved", path);
  expect(pinned.unlinkName(path)).toBe(false);
  expect(existsSync(`${directory}/moved`)).toBe(true);
  rmSync(`${directory}/sub`, { recursive: true });
  expect(pinned.unlinkName(path)).toBe(false);
});

test("a path whose directory has become a file is an error, not taken for a deleted name", () => {
  const directory = temporaryDirectory();
  mkdirSync(`${directory}/sub`);
  using listener = listen(`${directory}/sub/s`);
  void listener;
  using pinned = new PinnedSocket(`${directory}/sub/s`);
  // Not the ENOENT of a directory that is gone: something is wrong here, and that is worth telling.
  renameSync(`${directory}/sub`, `${directory}/gone`);
  writeFileSync(`${directory}/sub`, "");
  expect(errorCode(() => pinned.unlinkName(`${directory}/sub/s`))).toBe("ENOTDIR");
});

test("names of any bytes are opened, connected to and deleted", () => {
  const path = `${temporaryDirectory()}/\xff\xfe s`;
  using listener = listen(path);
  void listener;
  using pinned = new PinnedSocket(path);
  expect(connects(pinned)).toBe(true);
  expect(pinned.unlinkName(path)).toBe(true);
});
