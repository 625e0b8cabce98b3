/** Section 2: how a client gets a connection. */
import { describe, expect } from "bun:test";

import { whyNotStream } from "../../src/native/socket.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, descriptorFlags, O_NONBLOCK } from "../helpers/descriptors.ts";
import { serverKinds, serverTests } from "../helpers/pool-server.ts";

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("one byte of any value is answered with one connected stream, in blocking mode", async (server) => {
    const client = await server.connect();
    expect(whyNotStream(client.fd)).toBeUndefined();
    expect(descriptorFlags(client.fd) & O_NONBLOCK).toBe(0);
    expect(await client.number("getCount")).toBe(0);
  });

  test("three bytes in one write are three connections that know nothing of each other", async (server) => {
    await server.parent.wake(3);
    const clients = [
      await server.parent.take(),
      await server.parent.take(),
      await server.parent.take(),
    ];
    clients[1]?.close();
    for (const client of [clients[0], clients[2]]) {
      expect(await client?.number("getActive")).toBe(0);
    }
  });

  test("5,000 bytes before the first is read are 5,000 connections, and clients are served meanwhile", async (server) => {
    const early = await server.connect();
    await server.parent.wake(5000);
    expect(await early.number("getCount")).toBe(0);
    for (let taken = 0; taken < 5000; taken += 1) {
      const client = await server.parent.take();
      if (taken % 500 === 0) expect(await client.number("getCount")).toBe(0);
      client.close();
    }
    // Exactly so many: the next one taken is the next one asked for.
    const last = await server.connect();
    expect(await last.number("getActive")).toBe(0);
    await until(
      "every other client is forgotten",
      () => (server.log().match(/client connected/g)?.length ?? 0) === 5003,
    );
  });

  test("a connection that nobody takes is used by the next who asks", async (server) => {
    await server.parent.wake();
    const first = await server.connect();
    const second = await server.parent.take();
    expect(await first.number("getCount")).toBe(0);
    expect(await second.number("getCount")).toBe(0);
  });

  test("1,000 idle clients at once are served, and forgotten when they leave", async (server) => {
    const clients = [];
    for (let i = 0; i < 1000; i += 1) clients.push(await server.connect());
    for (const client of clients) await client.send("getCount");
    for (const client of clients) expect(await client.receive()).toEqual(["0"]);
    for (const client of clients) client.close();
  });
});
