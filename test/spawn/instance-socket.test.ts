/**
 * The socket that a spawn server names: trusted as far as a descriptor shows it to be one of its
 * user.
 */
import { afterEach, expect, test } from "bun:test";
import { chownSync, existsSync, lstatSync, readdirSync, renameSync, unlinkSync } from "node:fs";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { findUser, sendSignal, signals, type User } from "../../src/native/process.ts";
import { listenUnix, pathAddress } from "../../src/native/socket.ts";
import { FileSocket, openInstanceSocket, AbstractForms } from "../../src/spawn/instance-socket.ts";
import { SpawnServer } from "../../src/spawn/spawn-server.ts";
import { ascii, fromText } from "../../src/wire/bytes.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";
import { childrenOf, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { exchange, failureOf, notebook, spawnRequest } from "./support.ts";

const script = ascii(`${import.meta.dir}/../helpers/spawn-server.ts`);
const never = new AbortController().signal;
const temporaryDirectory = temporaryDirectories();
const opened: SpawnServer[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.close(never)));
});
// After the closing of the servers: hooks run in the order they are given in.
countDescriptors();

function nobody(): User {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  return user;
}

function scene(): { server: SpawnServer; directory: string; notes: string[] } {
  const directory = temporaryDirectory();
  const logFile = fromText(`${directory}/log`);
  const { notify, notes } = notebook();
  const command = { ruby: ascii(process.execPath), script, logFile };
  const server = new SpawnServer({ command, notify });
  opened.push(server);
  return { server, directory, notes };
}

/** Sockets of instances in a directory. */
function socketsIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith("instance."));
}

test.each(["file", "padded", "exact"])("connects to an instance on a %s socket", async (kind) => {
  const { server, directory } = scene();
  const instance = await server.spawn(spawnRequest(`${directory}/${kind}`));
  for (let round = 0; round < 3; round += 1) {
    expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  }
  instance.release();
});

test("goes back and forth between padded and exact abstract names", async () => {
  const { server, directory } = scene();
  for (const kind of ["exact", "padded", "exact", "exact"]) {
    const instance = await server.spawn(spawnRequest(`${directory}/${kind}`));
    expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
    instance.release();
  }
});

test("makes a file socket its own, and deletes it on release", async () => {
  const { server, directory } = scene();
  const instance = await server.spawn(spawnRequest(`${directory}/file`));
  const [name] = socketsIn(directory);
  const facts = lstatSync(`${directory}/${name}`);
  expect(facts.isSocket()).toBe(true);
  expect(facts.mode & 0o777).toBe(0o600);
  expect([facts.uid, facts.gid]).toEqual([process.getuid?.() ?? -1, process.getgid?.() ?? -1]);
  instance.release();
  expect(socketsIn(directory)).toEqual([]);
});

test("deletes the file socket of an instance that was killed", async () => {
  const { server, directory } = scene();
  const instance = await server.spawn(spawnRequest(`${directory}/file`));
  sendSignal(instance.pid, signals.SIGKILL);
  await instance.death;
  instance.release();
  expect(socketsIn(directory)).toEqual([]);
});

test("keeps to the socket it opened when the name has become another's", async () => {
  const { server, directory } = scene();
  const instance = await server.spawn(spawnRequest(`${directory}/file`));
  const [name] = socketsIn(directory);
  const path = `${directory}/${name}`;
  renameSync(path, `${path}.moved`);
  using impostor = listenUnix(pathAddress(path), 8);
  void impostor;
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  instance.release();
  expect(existsSync(path)).toBe(true);
});

test("lets a socket go whose name and directory are gone", async () => {
  const { server, directory, notes } = scene();
  const instance = await server.spawn(spawnRequest(`${directory}/file`));
  for (const name of socketsIn(directory)) unlinkSync(`${directory}/${name}`);
  instance.release();
  await untilGone(instance.pid);
  expect(notes.filter((note) => note.includes("not deleted"))).toEqual([]);
});

test.each([
  ["nosocket", "ENOENT"],
  ["regular", "is not a socket"],
  ["symlink", "is not a socket"],
])("fails the spawn when the name is %s, and lets the instance go", async (behaviour, why) => {
  const { server, directory } = scene();
  server.start();
  const { pid } = server;
  const error = await failureOf(server.spawn(spawnRequest(`${directory}/${behaviour}`)));
  expect(error.message).toContain(why);
  expect(server.pid).toBe(pid);
  const instances = () => childrenOf(pid).filter(({ state }) => state !== "Z");
  await until("its instance is gone", () => instances().length === 0, instances);
});

test("takes a socket of the instance's user from a spawn server that runs as root", async () => {
  const user = nobody();
  const path = `${temporaryDirectory()}/s`;
  using listener = listenUnix(pathAddress(path), 8);
  void listener;
  chownSync(path, user.uid, user.gid);
  const instance = Bun.spawn(["sleep", "60"], { uid: user.uid, gid: user.gid });
  try {
    const said = { pid: instance.pid, socketName: ascii(path), abstract: false };
    openInstanceSocket(said, 0, new AbstractForms()).release();
    expect(existsSync(path)).toBe(false);
  } finally {
    instance.kill();
    await instance.exited;
  }
});

test("refuses a socket of any other user, whatever process the spawn server names", () => {
  const user = nobody();
  const path = `${temporaryDirectory()}/s`;
  using listener = listenUnix(pathAddress(path), 8);
  void listener;
  // The socket is root's, and so is this process: a spawn server without rights must not get it.
  const said = { pid: process.pid, socketName: ascii(path), abstract: false };
  const error = errorOf(() => openInstanceSocket(said, user.uid, new AbstractForms()));
  expect(error.message).toBe(`socket ${path} belongs to user 0, not to ${user.uid}`);
  expect(lstatSync(path).mode & 0o777).not.toBe(0o600);
});

test("passes a full backlog on as such", () => {
  const path = `${temporaryDirectory()}/s`;
  using listener = listenUnix(pathAddress(path), 1);
  void listener;
  const socket = new FileSocket(ascii(path), [process.getuid?.() ?? 0]);
  const held: OwnedFd[] = [];
  try {
    for (;;) {
      const next = socket.connect();
      if (next === "full") break;
      held.push(next);
    }
    expect(held.length).toBeGreaterThan(0);
  } finally {
    for (const fd of held) fd.close();
    socket.release();
  }
});

test("refuses an abstract name that neither form reaches", () => {
  const said = { pid: process.pid, socketName: ascii("nobody listens here"), abstract: true };
  const socket = openInstanceSocket(said, 0, new AbstractForms());
  expect(errorCode(() => socket.connect())).toBe("ECONNREFUSED");
});
