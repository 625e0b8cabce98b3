/** Section 9: clients that multiplex. */
import { describe, expect } from "bun:test";

import { receiveDescriptor } from "../../src/native/descriptors.ts";
import { encodeScalar } from "../../src/wire/scalar-message.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests, type ServerUnderTest } from "../helpers/pool-server.ts";
import { appElements, exchange, frame, nextDescriptor, RawClient } from "../helpers/raw-client.ts";

async function multiplexed(server: ServerUnderTest): Promise<RawClient> {
  const client = await server.connect();
  await client.openChannel();
  return client;
}

function tagged(tag: string, root: string): Uint8Array {
  return frame("getTagged", tag, ...appElements(root));
}

/** Sends `configure` and its JSON; returns the reply. */
async function configure(client: RawClient, root: string, json: string): Promise<string[]> {
  const command = frame("configure", root);
  await client.sendBytes(Buffer.concat([command, encodeScalar(Buffer.from(json))]));
  return client.receive();
}

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("after openDescriptorChannel every session's descriptor comes over the channel, before its ok", async (server) => {
    const client = await multiplexed(server);
    await client.sendGet(server.app("padded"));
    await client.sendBytes(tagged("a tag", server.app("padded-b")));
    const plain = await client.receive();
    expect(plain.length).toBe(3);
    // No waiting here: it was sent before the reply that announces it.
    const first = receiveDescriptor(client.channel.number);
    if (typeof first === "string") throw new Error(first);
    const reply = await client.receive();
    expect([reply[0], reply[1], reply.length]).toEqual(["ok", "a tag", 4]);
    const second = receiveDescriptor(client.channel.number);
    if (typeof second === "string") throw new Error(second);
    for (const [pid, stream] of [
      [plain[1], first],
      [reply[2], second],
    ] as const) {
      client.keep(stream);
      const session = { pid: Number(pid), id: "", stream };
      expect(await exchange(session, "hello")).toBe(`${pid} hello`);
    }
  });

  test("a descriptor channel twice, tagged gets without one, a tag in use, and tags of 0 or 33 bytes end the client", async (server) => {
    const witness = await server.connect();
    await witness.send("setMax", "1");
    await witness.get(server.app("padded"));
    const other = server.app("padded-other");
    const withChannel = [
      frame("openDescriptorChannel"),
      tagged("", other),
      tagged("x".repeat(33), other),
      Buffer.concat([tagged("t", other), tagged("t", other)]),
    ];
    for (const data of withChannel) {
      const client = await multiplexed(server);
      await client.sendBytes(data);
      expect(await client.end()).toBe("");
    }
    const plain = await server.connect();
    await plain.sendBytes(tagged("t", other));
    expect(await plain.end()).toBe("");
    await witness.untilWaiting(0);
  });

  test("tagged gets are answered as they complete, and delay nobody", async (server) => {
    const client = await multiplexed(server);
    await client.closeSession(await client.get(server.app("padded")));
    await client.sendBytes(
      Buffer.concat([
        tagged("slow", server.app("slow-300")),
        tagged("warm", server.app("padded")),
        frame("getCount"),
      ]),
    );
    // Which of the two is first is open: the look for restart.txt may be somebody else's.
    const early = [await client.receive(), await client.receive()];
    expect(early).toContainEqual(["1"]);
    const [warm = []] = early.filter(({ length }) => length > 1);
    expect(warm.slice(0, 2)).toEqual(["ok", "warm"]);
    const slow = await client.receive();
    expect(slow.slice(0, 2)).toEqual(["ok", "slow"]);
    for (const reply of [warm, slow]) {
      const stream = client.keep(await nextDescriptor(client.channel.number));
      const pid = Number(reply[2]);
      expect(await exchange({ pid, id: "", stream }, "in order")).toBe(`${pid} in order`);
    }
  });

  test("refusals carry the tag, and a page follows its array at once", async (server) => {
    const client = await multiplexed(server);
    await client.sendBytes(
      Buffer.concat([
        tagged("page", server.app("errorpage")),
        frame("getCount"),
        tagged("none", server.app("badstatus")),
      ]),
    );
    const seen = new Map<string, string>();
    for (let i = 0; i < 3; i += 1) {
      const reply = await client.receive();
      if (reply.length === 1) {
        seen.set("count", reply[0] ?? "");
        continue;
      }
      const [name, tag = "", , page] = reply;
      expect(name).toBe("SpawnException");
      seen.set(tag, page === "true" ? await client.receiveScalar() : "no page");
    }
    expect(Object.fromEntries(seen)).toEqual({
      count: "0",
      page: "<html>no ruby today</html>",
      none: "no page",
    });
  });

  test("a withdrawn get is not answered, leaves the queue, and its tag can be used again", async (server) => {
    const client = await multiplexed(server);
    await client.send("setMax", "1");
    const held = await client.get(server.app("padded-a"));
    await client.sendBytes(
      Buffer.concat([tagged("t", server.app("padded-b")), tagged("u", server.app("padded-c"))]),
    );
    const witness = await server.connect();
    await witness.untilWaiting(2);
    await client.send("cancel", "t");
    await witness.untilWaiting(1);
    await client.send("cancel", "t");
    await client.send("cancel", "never used");
    await client.sendBytes(tagged("t", server.app("padded-a")));
    await client.closeSession(held);
    const tags = [];
    for (let i = 0; i < 2; i += 1) {
      const [, tag, , id = ""] = await client.receive();
      tags.push(tag);
      client.keep(await nextDescriptor(client.channel.number));
      await client.send("close", id);
    }
    expect(new Set(tags)).toEqual(new Set(["t", "u"]));
    expect(server.commands().some((line) => line.includes("padded-b"))).toBe(false);
  });

  test("cancel withdraws a tagged get that comes in the same write, behind a get that waits", async (server) => {
    const client = await multiplexed(server);
    await client.send("setMax", "1");
    const held = await client.get(server.app("padded-a"));
    await client.sendBytes(
      Buffer.concat([
        frame("get", ...appElements(server.app("padded-b"))),
        tagged("t", server.app("padded-c")),
        frame("cancel", "t"),
        frame("close", held.id),
        frame("getCount"),
      ]),
    );
    expect((await client.receiveSession()).pid).not.toBe(held.pid);
    expect(await client.receive()).toEqual(["1"]);
    expect(server.commands().some((line) => line.includes("padded-c"))).toBe(false);
  });

  test("a full channel holds back the oks and no other reply, and gives them out as it is read", async (server) => {
    const client = await multiplexed(server);
    await client.send("setMaxPerApp", "1");
    const gets = Array.from({ length: 300 }, (_, i) => tagged(`t${i}`, server.app("padded")));
    // One instance takes them all: its backlog of 64 empties as it accepts.
    for (const get of gets) await client.sendBytes(get);
    for (let i = 0; i < 278; i += 1) expect((await client.receive())[0]).toBe("ok");
    await client.send("getActive");
    expect(await client.receive()).toEqual(["1"]);
    for (let i = 0; i < 300; i += 1) {
      (await nextDescriptor(client.channel.number)).close();
      if (i >= 278) expect((await client.receive())[0]).toBe("ok");
    }
    for (let i = 0; i < 300; i += 1) await client.send("close", String(i));
    await until("all are closed", async () => (await client.number("getActive")) === 0);
  });

  test("the end of the channel, or bytes on it, end the client", async (server) => {
    const first = await multiplexed(server);
    const witness = await server.connect();
    await first.get(server.app("padded"));
    first.channel.close();
    expect(await first.end()).toBe("");
    await until("its session is given back", async () => (await witness.number("getActive")) === 0);
    const second = await multiplexed(server);
    const other = new RawClient(second.channel);
    await other.sendBytes(Buffer.from("x"));
    expect(await second.end()).toBe("");
  });

  test("a client that goes away with many gets granted at once gives all of them back", async (server) => {
    const holder = await server.connect();
    await holder.send("setMax", "1");
    await holder.send("setUseGlobalQueue", "true");
    const held = await holder.get(server.app("padded"));
    const leaver = await multiplexed(server);
    for (let i = 0; i < 20; i += 1) await leaver.sendBytes(tagged(`t${i}`, server.app("padded")));
    await holder.untilWaiting(20);
    // All twenty are granted by its last command, and the first reply finds nobody any more.
    await leaver.send("setUseGlobalQueue", "false");
    leaver.hangUp();
    await until("they are given back", async () => {
      const { sessions, waiting } = await holder.inspect();
      return sessions === 1 && waiting === 0;
    });
    await holder.closeSession(held);
    expect(await holder.number("getActive")).toBe(0);
    const again = await holder.get(server.app("padded"));
    expect(again.pid).toBe(held.pid);
  });

  test("configure takes good options, names what is wrong with others, and {} clears it", async (server) => {
    const client = await server.connect();
    const root = server.app("padded");
    expect(await configure(client, root, '{"maxInstances":1,"env":{"A":"b"}}')).toEqual(["ok"]);
    const wrong = ['{"maxInstance":1}', '{"concurrency":0}', "[]", "nonsense", '{"env":{"A":1}}'];
    for (const json of wrong) {
      const [word, message, ...rest] = await configure(client, root, json);
      expect([word, rest]).toEqual(["error", []]);
      expect(message).toStartWith("configure: ");
    }
    const [one, two] = [await client.get(root), await client.get(root)];
    expect(two.pid).toBe(one.pid);
    expect(await configure(client, root, "{}")).toEqual(["ok"]);
    expect((await client.get(root)).pid).not.toBe(one.pid);
  });

  test("configure limits the time of a spawn", async (server) => {
    const client = await server.connect();
    const root = server.app("hang");
    expect(await configure(client, root, '{"spawnTimeoutMs":100}')).toEqual(["ok"]);
    const [name, message, page] = await client.ask("get", ...appElements(root));
    expect([name, page]).toEqual(["SpawnException", "false"]);
    expect(message).toContain("100 ms");
  });

  test("inspect tells limits, counters, applications, instances, waiters and spawns", async (server) => {
    const client = await multiplexed(server);
    const odd = `${server.app("padded")}-\xff`;
    const [first] = [await client.get(server.app("padded-a")), await client.get(odd)];
    await client.send("setMax", "2");
    await client.sendBytes(tagged("w", server.app("padded-b")));
    const seen = await client.inspect();
    expect(seen.limits.max).toBe(2);
    expect([seen.count, seen.active, seen.sessions, seen.waiting]).toEqual([2, 2, 2, 1]);
    expect(seen.counters.grants).toBe(2);
    const roots = seen.applications.map(({ rootBase64, root }) => rootBase64 ?? root);
    expect(roots).toEqual([
      server.app("padded-a"),
      server.app("padded-b"),
      Buffer.from(odd, "latin1").toString("base64"),
    ]);
    const [a, b] = seen.applications;
    expect(a?.instances[0]).toMatchObject({ pid: first?.pid, state: "busy", sessions: 1 });
    expect(b?.waiters).toHaveLength(1);
  });
});
