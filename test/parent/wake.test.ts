/** How connections are had: the wake socket, shared and bounded; and what cannot be one. */
import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { sendDescriptor } from "../../src/native/descriptors.ts";
import { duplicate } from "../../src/native/fd.ts";
import { receive, socketPair } from "../../src/native/socket.ts";
import {
  attachPoolServer,
  PoolError,
  PoolIOError,
  ServerGoneError,
} from "../../src/parent/index.ts";
import { encodeDecimal } from "../../src/wire/replies.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { rejection } from "./rejection.ts";
import { ScriptedPeer } from "./scripted-peer.ts";

countDescriptors();

test("as many connections come as are asked for, at once and through several copies", async () => {
  using server = await ScriptedPeer.start();
  await using first = server.attach();
  await using second = server.attach();
  const asked = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? first : second).connect());
  const pools = await Promise.all(asked);
  expect(server.wakes).toBe(60);
  await until("all connections", () => server.connections.length === 60);
  const counts = pools.map((pool) => pool.getCount());
  for (const [index, peer] of server.connections.entries()) {
    await peer.take("getCount");
    peer.reply(encodeDecimal(index));
  }
  const all = await Promise.all(counts);
  expect(all.toSorted((a, b) => a - b)).toEqual([...all.keys()]);
  for (const pool of pools) pool.close();
});

test("a connection outlives the access it was made with", async () => {
  using server = await ScriptedPeer.start();
  const { pool, peer } = await server.connect();
  const count = pool.getCount();
  await peer.take("getCount");
  peer.reply(encodeDecimal(3));
  expect(await count).toBe(3);
  pool.close();
});

test("a server that does not answer is given up at the limit", async () => {
  using server = await ScriptedPeer.start();
  server.answers = false;
  await using access = server.attach();
  const error = await rejection(access.connect({ limitMs: 30 }));
  expect(error).toBeInstanceOf(PoolIOError);
  expect(String(error)).toContain("no answer within");
});

test("a server that is gone is said to be", async () => {
  const [ours, theirs] = socketPair();
  theirs.close();
  await using access = attachPoolServer(ours.take());
  expect(await rejection(access.connect())).toBeInstanceOf(ServerGoneError);
});

test("a server that goes while a connection is awaited is said to be", async () => {
  using server = await ScriptedPeer.start();
  server.answers = false;
  await using access = server.attach();
  const error = rejection(access.connect());
  await until("the wake byte", () => server.wakes === 1);
  server.die();
  expect(await error).toBeInstanceOf(ServerGoneError);
});

test("a server that knows no descriptor channel hangs up, and that is said", async () => {
  const [ours, theirs] = socketPair();
  await using access = attachPoolServer(ours.take());
  const error = rejection(access.connect());
  await until("the wake byte", () => receive(theirs.number, 1) !== "empty");
  const [connection, sent] = socketPair();
  sendDescriptor(theirs.number, sent.number);
  sent.close();
  await until("the command", () => receive(connection.number, 100) !== "empty");
  connection.close();
  expect(await error).toBeInstanceOf(ServerGoneError);
  theirs.close();
});

test("after its end the access says that it was closed here", async () => {
  using server = await ScriptedPeer.start();
  const access = server.attach();
  await access.close();
  await access.close();
  expect(String(await rejection(access.connect()))).toContain("has been closed here");
});

test("what is no connected Unix stream socket is refused at once", () => {
  const file = openSync("/dev/null", "r");
  expect(() => attachPoolServer(file)).toThrow(PoolError);
  expect(() => attachPoolServer(file)).toThrow(`descriptor ${file}: it is not a socket`);
  // It stays the caller's.
  duplicate(file).close();
  closeSync(file);
  expect(() => attachPoolServer(file)).toThrow("it is not open");
});
