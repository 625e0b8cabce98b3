/** Section 3: messages, commands and their order; wrong ones end their client and nobody else. */
import { describe, expect } from "bun:test";

import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests, type ServerUnderTest } from "../helpers/pool-server.ts";
import { appElements, exchange, frame } from "../helpers/raw-client.ts";

/**
 * Sends bytes on a new client and checks that it is ended with one warning, and that others are
 * not.
 */
async function expectEnded(server: ServerUnderTest, data: Uint8Array): Promise<void> {
  const before = warnings(server).length;
  const witness = await server.connect();
  const client = await server.connect();
  await client.sendBytes(data).catch(() => {});
  expect(await client.end()).toBe("");
  client.close();
  expect(await witness.number("getCount")).toBe(0);
  await until("there is a warning", () => warnings(server).length > before);
  expect(warnings(server).slice(before)).toHaveLength(1);
  witness.close();
}

function warnings(server: ServerUnderTest): string[] {
  return server
    .log()
    .split("\n")
    .filter((line) => / warning | error /.test(line));
}

function raw(latin1: string): Uint8Array {
  return Buffer.from(latin1, "latin1");
}

/** Bytes that are no message or no command, and what is wrong with them. */
const wrong: Readonly<Record<string, Uint8Array>> = {
  "an unknown command": frame("getcount"),
  "a command that every object has": frame("constructor"),
  "an empty array": raw("\0\0"),
  "an array without its last NUL": raw("\0\x05clear"),
  "an array of one empty element": raw("\0\x01\0"),
  "too many elements": frame("getCount", ""),
  "too few elements": frame("setMax"),
  "a get of five elements": frame("get", ...appElements("/x").slice(1)),
  "a number with a blank": frame("setMax", " 5"),
  "an empty number": frame("setMax", ""),
  "a number that is none": frame("close", "abc"),
  "a plus sign": frame("close", "+1"),
  "setMax 0": frame("setMax", "0"),
  "setMax -1": frame("setMax", "-1"),
  "setMax 100001": frame("setMax", "100001"),
  "setMaxPerApp -1": frame("setMaxPerApp", "-1"),
  "setMaxPerApp 100001": frame("setMaxPerApp", "100001"),
  "setMaxIdleTime -1": frame("setMaxIdleTime", "-1"),
  "setMaxIdleTime 2^31": frame("setMaxIdleTime", "2147483648"),
  "65,535 bytes without sense": Buffer.concat([raw("\xff\xff"), Buffer.alloc(65_535, "x")]),
};

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("each wrong message ends its client with one warning, and no other client", async (server) => {
    for (const data of Object.values(wrong)) await expectEnded(server, data);
  });

  test("a client that is ended for a wrong command gets the replies to those before it", async (server) => {
    const client = await server.connect();
    await client.sendBytes(
      Buffer.concat([frame("getCount"), frame("getActive"), frame("nonsense")]),
    );
    expect(await client.receive()).toEqual(["0"]);
    expect(await client.receive()).toEqual(["0"]);
    expect(await client.end()).toBe("");
  });

  test("the bounds of every number are accepted", async (server) => {
    const client = await server.connect();
    const accepted = [
      ["setMax", "1"],
      ["setMax", "100000"],
      ["setMax", "000020"],
      ["setMaxPerApp", "100000"],
      ["setMaxPerApp", "0"],
      ["setMaxIdleTime", "2147483647"],
      ["setMaxIdleTime", "0"],
      ["setUseGlobalQueue", "true"],
      ["setUseGlobalQueue", "false"],
    ];
    for (const command of accepted) await client.send(...command);
    expect(await client.number("getCount")).toBe(0);
    expect((await client.inspect()).limits).toEqual({
      max: 20,
      maxPerApp: 0,
      maxIdleMs: 0,
      useGlobalQueue: false,
    });
  });

  test("words of a get that the server does not know are the spawn server's to judge", async (server) => {
    const client = await server.connect();
    const root = server.app("padded");
    const words = { lowerPrivilege: "yes", spawnMethod: "fast", appType: "p\xc3\xa9p" };
    const session = await client.get(root, words);
    await client.closeSession(session);
    expect(server.commands()).toEqual([
      `spawn_application|${root}|false|nobody|production|fast|p\xc3\xa9p`,
    ]);
    expect((await client.get(root)).pid).toBe(session.pid);
    await client.send("setUseGlobalQueue", "yes");
    expect((await client.inspect()).limits.useGlobalQueue).toBe(false);
  });

  test("closing what is no open session is ignored, however strange the number", async (server) => {
    const client = await server.connect();
    const other = await server.connect();
    const session = await client.get(server.app("padded"));
    for (const id of ["1", "-1", "-0", "999999999999999999999999", session.id]) {
      await other.send("close", id);
    }
    expect(await other.number("getActive")).toBe(1);
    await client.send("close", "0");
    await client.send("close", "0");
    expect(await client.number("getActive")).toBe(0);
  });

  test("a conversation sent byte by byte is answered as one sent at once", async (server) => {
    const conversation = Buffer.concat([
      frame("getCount"),
      frame("get", ...appElements(server.app("padded"))),
      frame("getActive"),
      frame("close", "0"),
      frame("getActive"),
    ]);
    for (const pieces of [1, conversation.length]) {
      const client = await server.connect();
      const before = await client.number("getCount");
      for (let at = 0; at < conversation.length; at += pieces) {
        await client.sendBytes(conversation.subarray(at, at + pieces));
      }
      expect(await client.receive()).toEqual([String(before)]);
      const session = await client.receiveSession();
      expect(await exchange(session, "hi")).toBe(`${session.pid} hi`);
      expect([await client.receive(), await client.receive()]).toEqual([["1"], ["0"]]);
      client.close();
    }
  });

  test("commands are carried out in order: a close counts for what comes after it only", async (server) => {
    const client = await server.connect();
    await client.get(server.app("padded"));
    await client.sendBytes(
      Buffer.concat([frame("getActive"), frame("close", "0"), frame("getActive")]),
    );
    expect([await client.receive(), await client.receive()]).toEqual([["1"], ["0"]]);
  });

  test("session ids count from 0 for each client", async (server) => {
    const root = server.app("padded");
    for (let i = 0; i < 2; i += 1) {
      const client = await server.connect();
      const ids = [];
      for (let j = 0; j < 3; j += 1) {
        const session = await client.get(root);
        ids.push(session.id);
        await client.closeSession(session);
      }
      expect(ids).toEqual(["0", "1", "2"]);
    }
  });

  test("a close takes effect while a get before it waits, also when both come at once", async (server) => {
    const client = await server.connect();
    await client.send("setMax", "1");
    const first = await client.get(server.app("padded-a"));
    // The pool is full: the get can only be served by the close behind it.
    await client.sendBytes(
      Buffer.concat([
        frame("get", ...appElements(server.app("padded-b"))),
        frame("close", first.id),
        frame("getCount"),
      ]),
    );
    const second = await client.receiveSession();
    expect(second.pid).not.toBe(first.pid);
    expect(await client.receive()).toEqual(["1"]);
  });

  test("a close sent ahead for the session that a get will bring takes effect after the get", async (server) => {
    const client = await server.connect();
    const get = frame("get", ...appElements(server.app("padded")));
    await client.sendBytes(Buffer.concat([get, frame("close", "0"), frame("getActive")]));
    await client.receiveSession();
    expect(await client.receive()).toEqual(["0"]);
  });

  test("2,000 commands sent at once are no flood when none of them has to wait", async (server) => {
    const client = await server.connect();
    await client.sendBytes(Buffer.concat(Array.from({ length: 2000 }, () => frame("getCount"))));
    for (let i = 0; i < 2000; i += 1) expect(await client.receive()).toEqual(["0"]);
  });

  test("1,000 commands may wait behind a get, one more ends the client", async (server) => {
    const holder = await server.connect();
    await holder.send("setMax", "1");
    const held = await holder.get(server.app("padded-a"));
    const patient = await server.connect();
    const greedy = await server.connect();
    for (const client of [patient, greedy]) await client.sendGet(server.app("padded-b"));
    await holder.untilWaiting(2);
    const commands = Buffer.concat(Array.from({ length: 1000 }, () => frame("getCount")));
    await patient.sendBytes(commands);
    await greedy.sendBytes(Buffer.concat([commands, frame("getCount")]));
    expect(await greedy.end()).toBe("");
    await holder.untilWaiting(1);
    await holder.closeSession(held);
    await patient.receiveSession();
    for (let i = 0; i < 1000; i += 1) expect(await patient.receive()).toEqual(["1"]);
  });

  test("256 KiB of commands may wait behind a get, more ends the client", async (server) => {
    const holder = await server.connect();
    await holder.send("setMax", "1");
    await holder.get(server.app("padded-a"));
    const client = await server.connect();
    await client.sendGet(server.app("padded-b"));
    await holder.untilWaiting(1);
    const large = frame("get", ...appElements(`/${"x".repeat(60_000)}`));
    for (let i = 0; i < 4; i += 1) await client.sendBytes(large);
    await holder.untilWaiting(1);
    await client.sendBytes(large);
    expect(await client.end()).toBe("");
    await holder.untilWaiting(0);
  });

  test("a client that never reads is ended beyond 1 MiB; others are served all the time", async (server) => {
    const deaf = await server.connect();
    const other = await server.connect();
    const flood = Buffer.concat(Array.from({ length: 500 }, () => frame("inspect")));
    let ended = false;
    const sending = (async () => {
      for (let i = 0; i < 10_000; i += 1) await deaf.sendBytes(flood);
    })().catch(() => {
      ended = true;
    });
    for (let i = 0; i < 20; i += 1) expect(await other.number("getCount")).toBe(0);
    await sending;
    expect(ended).toBe(true);
    expect(warnings(server).join("\n")).toContain("1 MiB");
  });

  test("a client that is half-closed has left: its sessions are given back", async (server) => {
    const client = await server.connect();
    const other = await server.connect();
    await client.get(server.app("padded"));
    expect(await other.number("getActive")).toBe(1);
    client.halfClose();
    await until("its session is given back", async () => (await other.number("getActive")) === 0);
    expect(await other.number("getCount")).toBe(1);
    expect(await client.end()).toBe("");
  });

  test("roots are bytes: what is not UTF-8 is one application, and another than its replacement", async (server) => {
    const client = await server.connect();
    const strange = `${server.app("padded")}-\xff\xfe \n'"`;
    const [one, two] = [
      await client.get(strange),
      await client.get(`${server.app("padded")}-\xef`),
    ];
    await client.closeSession(one);
    const again = await client.get(strange);
    expect(again.pid).toBe(one.pid);
    expect(two.pid).not.toBe(one.pid);
    expect(await client.number("getCount")).toBe(2);
  });

  test("a refusal too long for its frame has its text cut, never its framing", async (server) => {
    const client = await server.connect();
    // The longest root that a get has room for is longer than its refusal has room for.
    const root = `/${"x".repeat(65_450)}/crash`;
    const [kindOf, message, page, ...rest] = await client.ask("get", ...appElements(root));
    expect([kindOf, page, rest]).toEqual(["SpawnException", "false", []]);
    expect(message).toStartWith("Cannot spawn application '/xxx");
    expect(await client.number("getCount")).toBe(0);
  });
});
