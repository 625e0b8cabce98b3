/** Section 1: at the end of the server, what its clients have sent is still carried out. */
import { describe, expect, test as declare } from "bun:test";

import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import {
  serverKinds,
  withEndingServer,
  type ServerSetup,
  type ServerTest,
  type ServerUnderTest,
} from "../helpers/pool-server.ts";
import { appElements, frame, type RawClient } from "../helpers/raw-client.ts";

/** As a parent ends its server: it closes its end of the socket, and sends a signal. */
function letGo(server: ServerUnderTest): void {
  server.parent.close();
  server.terminate();
}

async function clients(server: ServerUnderTest, count: number): Promise<RawClient[]> {
  await server.parent.wake(count);
  const taken: RawClient[] = [];
  while (taken.length < count) taken.push(await server.parent.take());
  return taken;
}

/** Of the last sessions it may hear no more: when all gets are answered, the server goes. */
async function closeWhatComes(client: RawClient): Promise<void> {
  const session = await client.receiveSession();
  await client.closeSession(session).catch((error: unknown) => {
    expect(error).toMatchObject({ code: "EPIPE" });
  });
}

describe.each([...serverKinds])("%s", (kind) => {
  countDescriptors();
  const test = (claim: string, ...rest: [ServerTest] | [ServerSetup, ServerTest]): void => {
    const [setup, body] = rest.length === 1 ? [{}, rest[0]] : rest;
    declare(claim, () => withEndingServer(kind, setup, body), 30_000);
  };

  test(
    "gets that were sent just before the end are answered, every one",
    { max: 4 },
    async (server) => {
      const askers = await clients(server, 32);
      for (const client of askers) await client.sendGet(server.app("padded"));
      letGo(server);
      for (const client of askers) await closeWhatComes(client);
      expect(await within("its end", server.ended, 4_000)).toBe(0);
    },
  );

  test("all commands that one client has sent are carried out in their order", async (server) => {
    const client = await server.connect();
    const get = frame("get", ...appElements(server.app("padded")));
    const commands = Array.from({ length: 20 }, (_, id) => [get, frame("close", String(id))]);
    await client.sendBytes(Buffer.concat([...commands.flat(), frame("getCount")]));
    letGo(server);
    for (let id = 0; id < 20; id += 1) expect((await client.receiveSession()).id).toBe(String(id));
    expect(await client.receive()).toEqual(["1"]);
    expect(await client.end()).toBe("");
  });

  test(
    "gets that wait for a place get those that sessions' ends free",
    { max: 1 },
    async (server) => {
      const root = server.app("padded");
      const [holder, idle, ...waiting] = await clients(server, 8);
      if (holder === undefined || idle === undefined) throw new Error("no clients");
      await holder.send("setUseGlobalQueue", "true");
      const held = await holder.get(root);
      for (const client of waiting) await client.sendGet(root);
      await holder.untilWaiting(waiting.length);
      letGo(server);
      // One with nothing under way is closed at once; one with a session is not while others wait.
      expect(await idle.end()).toBe("");
      await holder.closeSession(held);
      for (const client of waiting) await closeWhatComes(client);
      expect(await within("its end", server.ended, 4_000)).toBe(0);
    },
  );

  test("a get that waits for a start is answered, and no new client comes", async (server) => {
    const client = await server.connect();
    await client.sendGet(server.app("slow-300"));
    await until("it is being started", () => server.commands().length === 1);
    server.terminate();
    await until("it ends", () => server.log().includes("server ends"));
    await server.connect().then(
      () => expect.unreachable(),
      (error: unknown) => expect(String(error)).toMatch(/the end came|ECONNRESET|EPIPE/),
    );
    expect((await client.receiveSession()).id).toBe("0");
    expect(await within("its end", server.ended, 4_000)).toBe(0);
  });

  test("a client that goes on asking does not hold up the end", async (server) => {
    const [holder, asker] = await clients(server, 2);
    if (holder === undefined || asker === undefined) throw new Error("no clients");
    await holder.get(server.app("padded"));
    let asked = 0;
    const ask = () => asker.sendGet(server.app(`slow-100-${(asked += 1)}`));
    await ask();
    await until("it is being started", () => server.commands().length === 2);
    letGo(server);
    const isEnded = within("its end", server.ended, 4_000);
    expect((await asker.receiveSession()).id).toBe("0");
    while (
      await ask()
        .then(() => asker.receiveSession())
        .then(
          () => true,
          () => false,
        )
    );
    expect(await isEnded).toBe(0);
  });

  test("a get that nothing answers is given up after five seconds", async (server) => {
    const client = await server.connect();
    await client.sendGet(server.app("hang"));
    await until("it is being started", () => server.commands().length === 1);
    letGo(server);
    expect(await client.end()).toBe("");
    expect(await within("its end", server.ended, 9_000)).toBe(0);
  });
});
