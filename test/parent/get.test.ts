/** Gets and their sessions against a scripted server: every answer, in every order. */
import { describe, expect, test } from "bun:test";
import { duplicate } from "../../src/native/fd.ts";
import { OwnedFd } from "../../src/native/owned-fd.ts";
import { receive, send, socketPair } from "../../src/native/socket.ts";
import { getDescriptorLimit, setDescriptorLimit } from "../../src/native/process.ts";
import { Application } from "../../src/parent/index.ts";
import * as errors from "../../src/parent/errors.ts";
import { ascii, fromText } from "../../src/wire/bytes.ts";
import type { Command } from "../../src/wire/commands.ts";
import { encodeDecimal, encodeOk, encodeRefusal } from "../../src/wire/replies.ts";
import { turn, until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { rejection } from "./rejection.ts";
import { ScriptedPeer } from "./scripted-peer.ts";
import { encodeSpawnException } from "../helpers/peer-messages.ts";

countDescriptors();

describe("get", () => {
  test("sends the six elements with their defaults", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const got = pool.get("/srv/a");
    const { app, tag } = await peer.take("getTagged");
    expect(app).toEqual({
      root: ascii("/srv/a"),
      lowerPrivilege: true,
      lowestUser: ascii("nobody"),
      environment: ascii("production"),
      spawnMethod: "smart",
      appType: "auto",
    });
    peer.grant(tag, 12, 0).close();
    (await got).close();
    pool.close();
  });

  test("sends a root's bytes as they are, and text as UTF-8", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const all = [pool.get({ root: Uint8Array.of(0x2f, 0xff, 0xfe) }), pool.get("/é")];
    expect((await peer.take("getTagged")).app.root).toBe(ascii("/\xff\xfe"));
    expect((await peer.take("getTagged")).app.root).toBe(fromText("/é"));
    pool.close();
    await Promise.allSettled(all);
  });

  test("gives a stream to the instance, with its process", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const got = pool.get("/srv/a");
    using instance = peer.grant((await peer.take("getTagged")).tag, 4711, 7);
    using session = await got;
    expect([session.pid, session.id]).toEqual([4711, 7]);
    send(session.fd.number, Buffer.from("hello"));
    expect(receive(instance.number, 100)).toEqual(new Uint8Array(Buffer.from("hello")));
    pool.close();
  });

  test("gives each answer to the get it is for, whatever their order", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const gets = ["/a", "/b", "/c"].map((root) => pool.get(root));
    const tags: string[] = [];
    for (const _ of gets) tags.push((await peer.take("getTagged")).tag);
    for (const index of [2, 0, 1]) peer.grant(tags[index] ?? "", 100 + index, index).close();
    const sessions = await Promise.all(gets);
    expect(sessions.map((session) => session.pid)).toEqual([100, 101, 102]);
    for (const session of sessions) session.close();
    pool.close();
  });

  test("holds back what would flood the server, and sends it as answers come", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const gets = Array.from({ length: 2400 }, (_, i) => rejection(pool.get(`/app${i % 8}`)));
    const outstanding: Command[] = [];
    const roots: string[] = [];
    let most = 0;
    for (let answered = 0; answered < gets.length; answered += 1) {
      await until("more gets", () => peer.commands.length + outstanding.length > 0);
      outstanding.push(...peer.commands.splice(0));
      most = Math.max(most, outstanding.length);
      const get = outstanding.shift();
      if (get?.kind !== "getTagged") throw new Error("only gets are expected");
      roots.push(get.app.root);
      peer.reply(encodeRefusal("BusyException", ascii("no"), get.tag));
      if (answered % 50 === 0) await turn(2); // the library reads and writes
    }
    expect(most).toBe(600);
    const ends = await Promise.all(gets);
    expect(ends.every((end) => end instanceof errors.BusyError)).toBe(true);
    // Every application's turn comes again soon.
    const lateRoots = new Set(roots.slice(-40));
    expect(lateRoots.size).toBe(8);
    pool.close();
  });

  test("one application whose gets are not answered leaves room for the others", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const stuck = Array.from({ length: 1000 }, () => rejection(pool.get("/stuck")));
    const other = rejection(pool.get("/other"));
    await until("all that is sent", () => peer.commands.length === 201);
    const last = peer.commands.at(-1);
    if (last?.kind !== "getTagged") throw new Error("only gets are expected");
    expect(last.app.root).toBe(ascii("/other"));
    peer.reply(encodeRefusal("BusyException", ascii("no"), last.tag));
    expect(await other).toBeInstanceOf(errors.BusyError);
    pool.close();
    await Promise.all(stuck);
  });

  test("a root that is empty or holds a NUL is refused at once", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    expect(() => void pool.get("")).toThrow("its root is empty");
    expect(() => void pool.get("/a\0b")).toThrow("NUL");
    expect(() => new Application({ root: "/a", environment: "x\0" })).toThrow("NUL");
    expect(peer.commands).toEqual([]);
    pool.close();
  });
});

describe("a refused get", () => {
  test("rejects with SpawnError, message and page", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const page = Buffer.from("<h1>no</h1>");
    const wholes = encodeSpawnException(ascii("Cannot spawn"), page, ascii("1"));
    for (let cut = 1; cut < wholes.length; cut += 1) {
      const got = rejection(pool.get("/a"));
      const { tag } = await peer.take("getTagged");
      const answer = encodeSpawnException(ascii("Cannot spawn"), page, tag);
      await peer.replyCut(answer, cut);
      const error = await got;
      expect(error).toBeInstanceOf(errors.SpawnError);
      expect(error).toMatchObject({ message: "Cannot spawn", page: new Uint8Array(page) });
    }
    pool.close();
  });

  test("rejects with SpawnError without a page where none follows", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const got = rejection(pool.get("/a"));
    const { tag } = await peer.take("getTagged");
    peer.reply(encodeSpawnException(ascii("Cannot spawn"), undefined, tag));
    expect(await got).toMatchObject({ name: "SpawnError", page: undefined });
    pool.close();
  });

  test("rejects with BusyError and PoolIOError", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const busy = rejection(pool.get("/a"));
    peer.reply(encodeRefusal("BusyException", ascii("B"), (await peer.take("getTagged")).tag));
    expect(await busy).toMatchObject({ name: "BusyError", message: "B" });
    const io = rejection(pool.get("/a"));
    peer.reply(encodeRefusal("IOException", ascii("I"), (await peer.take("getTagged")).tag));
    expect(await io).toMatchObject({ name: "PoolIOError", message: "I" });
    pool.close();
  });
});

describe("an aborted get", () => {
  test("tells the server and rejects with the signal's reason", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const controller = new AbortController();
    const got = rejection(pool.get("/a", { signal: controller.signal }));
    const { tag } = await peer.take("getTagged");
    controller.abort(new Error("enough"));
    expect(await got).toEqual(new Error("enough"));
    expect((await peer.take("cancel")).tag).toBe(tag);
    pool.close();
  });

  test("closes the session that was granted before the server heard of it", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const controller = new AbortController();
    const got = rejection(pool.get("/a", { signal: controller.signal }));
    const { tag } = await peer.take("getTagged");
    controller.abort();
    using instance = peer.grant(tag, 1, 42);
    await peer.take("cancel");
    expect((await peer.take("close")).sessionId).toBe(42);
    expect(receive(instance.number, 1)).toBe("end");
    expect(await got).toBe(controller.signal.reason);
    pool.close();
  });

  test("sends nothing when it was aborted before", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    expect(await rejection(pool.get("/a", { signal: AbortSignal.abort("why") }))).toBe("why");
    const count = pool.getCount();
    await peer.take("getCount");
    peer.reply(encodeDecimal(0));
    expect(await count).toBe(0);
    pool.close();
  });

  test("leaves the queue of those held back", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const sent = Array.from({ length: 200 }, () => rejection(pool.get("/a")));
    const controller = new AbortController();
    const held = rejection(pool.get("/a", { signal: controller.signal }));
    controller.abort("no more");
    expect(await held).toBe("no more");
    const later = rejection(pool.get("/b"));
    await until("the others to be sent", () => peer.commands.length === 201);
    pool.close();
    await Promise.all([...sent, later]);
    expect(peer.commands.some((command) => command.kind !== "getTagged")).toBe(false);
  });

  test("stops listening to the signal once it is answered", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const controller = new AbortController();
    const got = pool.get("/a", { signal: controller.signal });
    peer.grant((await peer.take("getTagged")).tag, 1, 0).close();
    using session = await got;
    controller.abort();
    expect(session.closed).toBe(false);
    session.close();
    expect((await peer.take("close")).sessionId).toBe(0);
    pool.close();
  });
});

describe("a session", () => {
  test("tells the pool once, however often it is closed", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const got = pool.get("/a");
    peer.grant((await peer.take("getTagged")).tag, 1, 5).close();
    const session = await got;
    session.close();
    session.close();
    pool.clear();
    expect((await peer.take("close")).sessionId).toBe(5);
    await peer.take("clear");
    pool.close();
  });

  test("leaves a stream alone that was taken out of it", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const got = pool.get("/a");
    using instance = peer.grant((await peer.take("getTagged")).tag, 1, 5);
    const session = await got;
    const taken = session.fd.take();
    session.close();
    await peer.take("close");
    expect(receive(instance.number, 1)).toBe("empty");
    new OwnedFd(taken).close();
    expect(receive(instance.number, 1)).toBe("end");
    pool.close();
  });

  test("whose descriptor is lost for want of a free one is given back", async () => {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    const got = rejection(pool.get("/a"));
    const { tag } = await peer.take("getTagged");
    const [theirs, instance] = socketPair();
    peer.sendOnChannel(theirs);
    const limit = getDescriptorLimit();
    setDescriptorLimit({ ...limit, soft: BigInt(lowestFreeNumber()) });
    peer.reply(encodeOk(1, 9, tag));
    const error = await got.finally(() => setDescriptorLimit(limit));
    instance.close();
    expect(error).toMatchObject({ name: "PoolIOError" });
    expect(String(error)).toContain("MSG_CTRUNC");
    expect((await peer.take("close")).sessionId).toBe(9);
    expect(pool.isOpen).toBe(true);
    pool.close();
  });
});

/** With a limit of this no further descriptor can be had. */
function lowestFreeNumber(): number {
  using probe = duplicate(0);
  return probe.number;
}
