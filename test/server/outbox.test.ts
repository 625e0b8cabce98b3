/**
 * What a client is sent, over real sockets: order, full sockets, and who owns a descriptor on its
 * way.
 */
import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";

import { receiveDescriptor } from "../../src/native/descriptors.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { makePipe } from "../../src/native/pipe.ts";
import { receive, socketPair } from "../../src/native/socket.ts";
import { Outbox } from "../../src/server/outbox.ts";
import { ascii } from "../../src/wire/bytes.ts";
import { turn, until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { frame, nextDescriptor, RawClient, readExactly } from "../helpers/raw-client.ts";

countDescriptors();

/** An outbox, the client at its other end, and what it reported. */
function setUp() {
  const [ours, theirs] = socketPair();
  const seen = { overflows: 0, errors: [] as unknown[] };
  const outbox = new Outbox(
    ours.number,
    () => {
      seen.overflows += 1;
    },
    (error) => {
      seen.errors.push(error);
    },
  );
  const client = new RawClient(theirs);
  return {
    outbox,
    client,
    seen,
    [Symbol.dispose]() {
      outbox.close();
      ours.close();
      client.close();
    },
  };
}

/** The same with a descriptor channel; `channel` is the client's end. */
function setUpWithChannel() {
  const inner = setUp();
  const [ours, channel] = socketPair();
  inner.outbox.useChannel(ours.number);
  return {
    ...inner,
    channel,
    [Symbol.dispose]() {
      inner[Symbol.dispose]();
      ours.close();
      channel.close();
    },
  };
}

function something(): OwnedFd {
  const { readEnd, writeEnd } = makePipe();
  writeEnd.close();
  return readEnd;
}

test("replies and descriptors arrive in the order they were given", async () => {
  using box = setUp();
  const sent = something();
  const { ino } = fstatSync(sent.number);
  box.outbox.reply(frame("one"));
  box.outbox.session(7, 0, undefined, sent);
  box.outbox.reply(frame("two"));
  expect(await box.client.receive()).toEqual(["one"]);
  const session = await box.client.receiveSession();
  expect(fstatSync(session.stream.number).ino).toBe(ino);
  expect(await box.client.receive()).toEqual(["two"]);
  expect(sent.open).toBe(false);
});

test("what announces descriptors is gathered for one send, and nothing overtakes it", async () => {
  using box = setUpWithChannel();
  const { outbox, client, channel } = box;
  const refusal = frame("SpawnException", "t2", "no", "false");
  for (const [after, say] of [
    [Buffer.alloc(0), () => outbox.release()],
    [frame("recall", "1"), () => outbox.recall(1)],
    [refusal, () => outbox.refusal([refusal])],
    [Buffer.alloc(0), () => outbox.close()],
  ] as const) {
    outbox.gathers = true;
    for (const id of [0, 1]) outbox.session(7, id, ascii(`t${id}`), something());
    for (let i = 0; i < 2; i += 1) (await nextDescriptor(channel.number)).close();
    expect(receive(client.fd, 1)).toBe("empty");
    say();
    const all = [frame("ok", "t0", "7", "0"), frame("ok", "t1", "7", "1"), after];
    expect(Buffer.from(receive(client.fd, 1000))).toEqual(Buffer.concat(all));
  }
});

test("to a client that reads late, 600 sessions and 600 replies arrive whole and in order", async () => {
  using box = setUp();
  for (let i = 0; i < 600; i += 1) {
    box.outbox.session(7, i, undefined, something());
    box.outbox.reply(frame(String(i)));
  }
  expect(box.outbox.empty).toBe(false);
  for (let i = 0; i < 600; i += 1) {
    const session = await box.client.receiveSession();
    expect(session.id).toBe(String(i));
    session.stream.close();
    expect(await box.client.receive()).toEqual([String(i)]);
  }
  await box.outbox.drained();
  expect(box.outbox.empty).toBe(true);
});

test("an ok that fits only in part is finished before its descriptor follows", async () => {
  for (const fill of [150_000, 180_000, 200_000, 205_000, 208_000, 211_000]) {
    using box = setUp();
    const large = new Uint8Array(fill).fill(120);
    box.outbox.reply(large);
    const reply = frame("ok", "7", "0".repeat(60_000));
    box.outbox.reply(reply, something());
    box.outbox.reply(frame("after"));
    expect(await readExactly(box.client.fd, fill)).toBe("x".repeat(fill));
    const session = await box.client.receiveSession();
    expect(session.id.length).toBe(60_000);
    expect(await box.client.receive()).toEqual(["after"]);
  }
});

test("more than 1 MiB unread is told, 1 MiB less a little is kept", async () => {
  using box = setUp();
  const piece = new Uint8Array(64 * 1024);
  // The socket's own buffer takes some; what counts is what is kept here.
  while (box.outbox.empty) box.outbox.reply(piece);
  for (let i = 0; i < 15; i += 1) box.outbox.reply(piece);
  expect(box.seen.overflows).toBe(0);
  for (let i = 0; i < 2; i += 1) box.outbox.reply(piece);
  expect(box.seen.overflows).toBeGreaterThan(0);
});

test("what has been read no longer counts as unread", async () => {
  using box = setUp();
  const piece = new Uint8Array(64 * 1024);
  for (let round = 0; round < 10; round += 1) {
    for (let i = 0; i < 8; i += 1) box.outbox.reply(piece);
    await readExactly(box.client.fd, 8 * piece.length);
    await box.outbox.drained();
  }
  expect(box.seen.overflows).toBe(0);
});

test("a client that is gone is one error, and no descriptor stays open", async () => {
  using box = setUp();
  box.client.close();
  box.outbox.session(7, 0, undefined, something());
  expect(box.seen.errors).toHaveLength(1);
  expect(String(box.seen.errors[0])).toContain("EPIPE");
});

test("a client that goes with sessions queued for it: closing the outbox closes their descriptors", async () => {
  using box = setUp();
  const given = Array.from({ length: 400 }, something);
  for (const [i, fd] of given.entries()) box.outbox.session(7, i, undefined, fd);
  expect(given.some((fd) => fd.open)).toBe(true);
  box.outbox.close();
  expect(given.some((fd) => fd.open)).toBe(false);
});

test("what a closed outbox is given is closed and goes nowhere, with and without a channel", async () => {
  using plain = setUp();
  using multiplexed = setUpWithChannel();
  for (const { outbox, client } of [plain, multiplexed]) {
    outbox.close();
    const late = something();
    outbox.session(7, 0, undefined, late);
    outbox.reply(frame("late"));
    expect(late.open).toBe(false);
    await outbox.drained();
    expect(receive(client.fd, 1)).toBe("empty");
  }
  expect(receiveDescriptor(multiplexed.channel.number)).toBe("empty");
});

test("many refusals at once end nobody who reads, and somebody who does not", async () => {
  using box = setUp();
  const page = new Uint8Array(64 * 1024);
  for (let i = 0; i < 40; i += 1) box.outbox.refusal([frame("SpawnException"), page]);
  const all = 40 * (frame("SpawnException").length + page.length);
  await readExactly(box.client.fd, all);
  await box.outbox.drained();
  expect(box.seen.overflows).toBe(0);
  for (let i = 0; i < 40; i += 1) box.outbox.refusal([page]);
  await until("the stalled peer to be told", () => box.seen.overflows > 0 || undefined);
});

test("whoever waits until everything is out is woken by the close as well", async () => {
  using box = setUp();
  while (box.outbox.empty) box.outbox.reply(new Uint8Array(64 * 1024));
  const drained = box.outbox.drained();
  box.outbox.close();
  await drained;
});

test("on a channel the descriptor is there before the ok, and the ok has none behind it", async () => {
  using box = setUpWithChannel();
  const sent = something();
  box.outbox.session(7, 0, ascii("t"), sent);
  const got = receiveDescriptor(box.channel.number);
  if (typeof got === "string") throw new Error(got);
  got.close();
  expect(await box.client.receive()).toEqual(["ok", "t", "7", "0"]);
  await turn(3);
  expect(receive(box.client.fd, 1)).toBe("empty");
  expect(sent.open).toBe(false);
});

test("a full channel holds back oks only, and each descriptor read lets one ok go", async () => {
  using box = setUpWithChannel();
  for (let i = 0; i < 290; i += 1) box.outbox.session(7, i, undefined, something());
  box.outbox.reply(frame("other"));
  for (let i = 0; i < 278; i += 1) expect((await box.client.receive())[2]).toBe(String(i));
  expect(await box.client.receive()).toEqual(["other"]);
  await turn(3);
  expect(receive(box.client.fd, 1)).toBe("empty");
  (await nextDescriptor(box.channel.number)).close();
  expect((await box.client.receive())[2]).toBe("278");
  for (let i = 0; i < 289; i += 1) (await nextDescriptor(box.channel.number)).close();
  for (let i = 279; i < 290; i += 1) expect((await box.client.receive())[2]).toBe(String(i));
  await until("everything is out", () => box.outbox.empty);
});

test("a recall follows the ok that names its session, and is inside no other reply", async () => {
  using box = setUpWithChannel();
  for (let i = 0; i < 280; i += 1) box.outbox.session(7, i, undefined, something());
  const page = new Uint8Array(1024 * 1024 - 1);
  box.outbox.refusal([frame("SpawnException"), page]);
  // The page does not fit the socket; two oks wait for room in the channel.
  box.outbox.recall(279);
  box.outbox.recall(5);
  for (let i = 0; i < 278; i += 1) expect((await box.client.receive())[2]).toBe(String(i));
  expect(await box.client.receive()).toEqual(["SpawnException"]);
  expect(await readExactly(box.client.fd, page.length)).toBe("\0".repeat(page.length));
  expect(await box.client.receive()).toEqual(["recall", "5"]);
  for (let i = 0; i < 280; i += 1) (await nextDescriptor(box.channel.number)).close();
  expect((await box.client.receive())[2]).toBe("278");
  expect((await box.client.receive())[2]).toBe("279");
  expect(await box.client.receive()).toEqual(["recall", "279"]);
});

test("a channel that is gone is an error, and no descriptor stays open", async () => {
  using box = setUpWithChannel();
  box.channel.close();
  box.outbox.session(7, 0, undefined, something());
  expect(String(box.seen.errors[0])).toContain("EPIPE");
});

test("60,000 small replies to one who reads as they come", async () => {
  using box = setUp();
  let wrong = 0;
  for (let i = 0; i < 60_000; i += 1) {
    box.outbox.reply(frame(String(i)));
    const reply = await box.client.receive();
    if (reply[0] !== String(i)) wrong += 1;
    if (i % 10_000 === 0) Bun.gc(true);
  }
  expect(wrong).toBe(0);
});
