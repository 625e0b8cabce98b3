/** Settings and questions of a connection, and every way it can end, against a scripted server. */
import { describe, expect, test } from "bun:test";
import { receive, send } from "../../src/native/socket.ts";
import * as errors from "../../src/parent/errors.ts";
import { ascii } from "../../src/wire/bytes.ts";
import {
  encodeDecimal,
  encodeError,
  encodeOk,
  encodePlainOk,
  encodeRefusal,
} from "../../src/wire/replies.ts";
import { encodeScalar } from "../../src/wire/scalar-message.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { rejection } from "./rejection.ts";
import { type PeerConnection, ScriptedPeer } from "./scripted-peer.ts";
import { encodeSpawnException } from "../helpers/peer-messages.ts";

countDescriptors();

describe("settings and questions", () => {
  test("settings go out in order, each as its command", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    pool.setMax(7);
    pool.setMaxPerApp(0);
    pool.setMaxIdleTime(90);
    pool.setUseGlobalQueue(true);
    pool.clear();
    await until("all commands", () => peer.commands.length === 5);
    expect(peer.commands).toEqual([
      { kind: "setMax", max: 7 },
      { kind: "setMaxPerApp", maxPerApp: 0 },
      { kind: "setMaxIdleTime", seconds: 90 },
      { kind: "setUseGlobalQueue", useGlobalQueue: true },
      { kind: "clear" },
    ]);
    pool.close();
  });

  test("a number the server would end the client for is refused here", async () => {
    using server = await ScriptedPeer.start();
    const { pool } = await server.connect();
    for (const bad of [0, -1, 1.5, 100_001, Number.NaN]) {
      expect(() => pool.setMax(bad)).toThrow(RangeError);
    }
    expect(() => pool.setMaxPerApp(-1)).toThrow(RangeError);
    expect(() => pool.setMaxIdleTime(2 ** 31)).toThrow(RangeError);
    pool.close();
  });

  test("answers come to the questions in their order, between those of gets", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const get = rejection(pool.get("/a"));
    const all = Promise.all([pool.getActive(), pool.getCount(), pool.getSpawnServerPid()]);
    const { tag } = await peer.take("getTagged");
    for (const kind of ["getActive", "getCount", "getSpawnServerPid"] as const) {
      await peer.take(kind);
    }
    peer.reply(encodeDecimal(1));
    peer.reply(encodeRefusal("IOException", ascii("x"), tag));
    peer.reply(Buffer.concat([encodeDecimal(2), encodeDecimal(3)]));
    expect(await all).toEqual([1, 2, 3]);
    await get;
    pool.close();
  });

  test("more questions than a client may have waiting are refused here", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const asked = Array.from({ length: 300 }, () => pool.getCount());
    expect(await rejection(pool.getCount())).toBeInstanceOf(errors.BusyError);
    await until("the questions", () => peer.commands.length === 300);
    // In one piece: so many small ones would fill a socket.
    peer.reply(Buffer.concat(asked.map((_, index) => encodeDecimal(index))));
    expect(await Promise.all(asked)).toEqual([...asked.keys()]);
    pool.close();
  });

  test("configure sends its JSON and resolves, or rejects with the server's message", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const first = pool.configure("/a", { concurrency: 4, env: { A: "1" } });
    await peer.take("configure");
    peer.reply(encodePlainOk());
    await first;
    expect(peer.scalars).toEqual(['{"concurrency":4,"env":{"A":"1"}}']);
    const second = rejection(pool.configure("/a", {}));
    await peer.take("configure");
    peer.reply(encodeError(ascii("not so")));
    expect(await second).toMatchObject({ name: "ConfigureError", message: "not so" });
    pool.close();
  });
});

describe("inspect", () => {
  const sizes = { small: 100, "above 64 KiB": 70_000, "of 2.4 MiB": 2_500_000 };
  for (const [name, size] of Object.entries(sizes)) {
    test(`finds a snapshot ${name} behind the replies of gets that were under way`, async () => {
      using server = await ScriptedPeer.start();
      const { pool, peer } = await server.connect();
      const gets = Array.from({ length: 3 }, () => rejection(pool.get("/a")));
      const inspected = pool.inspect();
      const count = pool.getCount();
      const tags = [];
      for (const _ of gets) tags.push((await peer.take("getTagged")).tag);
      const snapshot = { filler: "x".repeat(size) };
      const bytes = Buffer.concat([
        encodeRefusal("BusyException", ascii("x"), tags[0]),
        encodeSpawnException(ascii("m"), Buffer.from("{page}"), tags[1]),
        encodeScalar(Buffer.from(JSON.stringify(snapshot))),
        encodeRefusal("IOException", ascii("x"), tags[2]),
        encodeDecimal(5),
      ]);
      // Small steps where the frames are, large ones inside the snapshot.
      for (let at = 0; at < bytes.length;) {
        const step = at < 120 || at > bytes.length - 40 ? 1 : 60_000;
        const end = Math.min(at + step, bytes.length);
        peer.reply(bytes.subarray(at, end));
        await Bun.sleep(0);
        at = end;
      }
      expect(await inspected).toMatchObject(snapshot);
      expect(await count).toBe(5);
      const ends = await Promise.all(gets);
      expect(ends.map(String)).toEqual(["BusyError: x", "SpawnError: m", "PoolIOError: x"]);
      pool.close();
    });
  }

  test("a snapshot that is not JSON ends the connection", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const inspected = rejection(pool.inspect());
    await peer.take("inspect");
    peer.reply(encodeScalar(Buffer.from("{oops")));
    expect(String(await inspected)).toBe("PoolIOError: inspect: the snapshot is not JSON");
    expect(pool.isOpen).toBe(false);
  });
});

describe("the end of a connection", () => {
  test("server death rejects everything pending, with what it was", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const pending = [pool.get("/a"), pool.getCount(), pool.inspect(), pool.configure("/a", {})];
    const held = Array.from({ length: 600 }, () => pool.get("/b"));
    await until("the gets to arrive", () => peer.commands.length > 100);
    server.die();
    const ends = await Promise.all([...pending, ...held].map(rejection));
    expect(ends.every((end) => end instanceof errors.ServerGoneError)).toBe(true);
    expect(ends.slice(0, 2).map(String)).toEqual([
      expect.stringMatching(/^ServerGoneError: get '\/a': the pool server closed the connection/),
      expect.stringMatching(/^ServerGoneError: getCount: the pool server closed/),
    ]);
    await pool.closed;
    expect(await rejection(pool.get("/a"))).toBeInstanceOf(errors.ServerGoneError);
    expect(() => pool.clear()).toThrow(errors.ServerGoneError);
  });

  test("closing it rejects what is pending and leaves open streams alone", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const got = pool.get("/a");
    using instance = peer.grant((await peer.take("getTagged")).tag, 1, 0);
    using session = await got;
    const waiting = rejection(pool.get("/a"));
    pool.setMax(3);
    pool.close();
    pool.close();
    expect(String(await waiting)).toBe(
      "PoolError: get '/a': the connection has been closed on this side",
    );
    send(session.fd.number, Buffer.from("still"));
    expect(receive(instance.number, 9)).toEqual(new Uint8Array(Buffer.from("still")));
    await peer.take("getTagged");
    // What was said before the end still arrives.
    await peer.take("setMax");
    await until("the server to see the end", () => peer.closed);
  });

  const broken: [string, (peer: PeerConnection) => void][] = [
    ["an ok without a descriptor", (peer) => peer.reply(encodeOk(1, 1, ascii("1")))],
    ["a session without a tag", (peer) => peer.reply(encodeOk(1, 1))],
    ["a refusal without a tag", (peer) => peer.reply(encodeRefusal("IOException", ascii("x")))],
    ["a decimal nobody asked for", (peer) => peer.reply(encodeDecimal(1))],
    ["an empty message", (peer) => peer.reply(Uint8Array.of(0, 0))],
    ["an unknown reply", (peer) => peer.reply(Buffer.from("\0\x04huh\0"))],
  ];
  for (const [name, act] of broken) {
    test(`${name} ends the connection with PoolIOError`, async () => {
      using server = await ScriptedPeer.start();
      const { pool, peer } = await server.connect();
      const got = rejection(pool.get("/a"));
      await peer.take("getTagged");
      act(peer);
      expect(await got).toBeInstanceOf(errors.PoolIOError);
      await until("the server to see the end", () => peer.closed);
    });
  }

  test("a server that stops reading is given up when 4 MiB are unsent", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    peer.pause();
    let sent = 0;
    while (pool.isOpen && sent < 10_000_000) {
      for (let i = 0; i < 1000 && pool.isOpen; i += 1) {
        pool.setMaxIdleTime(1_000_000_000);
        sent += 28;
      }
      await Bun.sleep(0);
    }
    expect(sent).toBeGreaterThan(4 * 1024 * 1024);
    expect(pool.isOpen).toBe(false);
    expect(String(await rejection(pool.getCount()))).toContain("has stopped reading");
    peer.die();
  });

  test("commands wait for a server that is late, and all arrive in order", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    peer.pause();
    const count = 40_000; // about 800 KiB: several socket buffers
    for (let i = 0; i < count; i += 1) pool.setMaxIdleTime(i);
    await Bun.sleep(20);
    peer.resume();
    await until("all commands", () => peer.commands.length === count);
    const inOrder = peer.commands.every(
      (command, index) => command.kind === "setMaxIdleTime" && command.seconds === index,
    );
    expect(inOrder).toBe(true);
    pool.close();
  });
});
