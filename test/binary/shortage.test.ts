/**
 * The server without a free descriptor: clients wait or are told, nothing is lost, and it recovers.
 */
import { expect } from "bun:test";

import { until } from "../helpers/condition.ts";
import { exhaust, relieve, roomyWrapper } from "../helpers/descriptor-shortage.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverTests } from "../helpers/pool-server.ts";
import { appElements, exchange } from "../helpers/raw-client.ts";

countDescriptors();
const binaryTest = serverTests("binary");

const setup = { binary: { wrapper: roomyWrapper } };

binaryTest(
  "new clients wait while no descriptor is free, and all of them come when there is",
  setup,
  async (server) => {
    const early = await server.connect();
    await exhaust(server);
    await server.parent.wake(200);
    await until("it is said in the log", () => server.log().includes("no descriptor is free"));
    expect(await early.number("getCount")).toBe(0);
    relieve(server);
    for (let i = 0; i < 200; i += 1) {
      const client = await server.parent.take();
      if (i % 50 === 0) expect(await client.number("getCount")).toBe(0);
    }
    expect(server.log().match(/no descriptor is free/g)?.length).toBe(1);
  },
);

binaryTest(
  "gets of warm applications are served all the same, by the spare descriptor",
  setup,
  async (server) => {
    const client = await server.connect();
    await client.closeSession(await client.get(server.app("padded")));
    await exhaust(server);
    for (let i = 0; i < 50; i += 1) {
      const session = await client.get(server.app("padded"));
      expect(await exchange(session, "served")).toBe(`${session.pid} served`);
      await client.closeSession(session);
    }
    relieve(server);
  },
);

binaryTest(
  "a spawn for which no descriptor is free is refused, and works again when there is",
  setup,
  async (server) => {
    const client = await server.connect();
    await exhaust(server);
    const root = server.app("padded");
    const [name, message] = await client.ask("get", ...appElements(root));
    expect(name).toBe("SpawnException");
    expect(message).toStartWith(`Cannot spawn application '${root}': `);
    relieve(server);
    const session = await client.get(server.app("padded-again"));
    expect(await exchange(session, "again")).toBe(`${session.pid} again`);
  },
);
