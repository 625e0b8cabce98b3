/** Section 11: gets whose clients go on with an instance, by its key or by who they are. */
import { expect } from "bun:test";

import { builtinTest, bunApplication, bunElements } from "../helpers/builtin-server.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import type { ServerUnderTest } from "../helpers/pool-server.ts";
import { nextDescriptor, type RawClient } from "../helpers/raw-client.ts";

countDescriptors();

/** An application of two instances. @returns its root. */
function application(server: ServerUnderTest, name: string): Promise<string> {
  const source = "export default { fetch: () => new Response('here') };";
  return bunApplication(server, name, source, { concurrency: 50, instances: 2 });
}

async function connect(server: ServerUnderTest): Promise<RawClient> {
  const client = await server.connect();
  await client.openChannel();
  return client;
}

interface Followed {
  readonly pid: number;
  readonly key: string;
}

/** A session, given back at once. */
async function follow(client: RawClient, root: string, token: string): Promise<Followed> {
  await client.send("getSticky", "t", token, ...bunElements(root));
  const [ok, tag, pid, id = "", key = ""] = await client.receive();
  expect([ok, tag]).toEqual(["ok", "t"]);
  (await nextDescriptor(client.channel.number)).close();
  await client.send("close", id);
  return { pid: Number(pid), key };
}

/** The keys of both instances, by process. */
async function bothOf(client: RawClient, root: string): Promise<readonly [Followed, Followed]> {
  const found = new Map<number, Followed>();
  await until("both are there", async () => {
    const next = await follow(client, root, "");
    found.set(next.pid, next);
    return found.size === 2;
  });
  const [one, other] = [...found.values()];
  if (one === undefined || other === undefined) throw new Error("there are two");
  return [one, other];
}

builtinTest("a key leads to its instance, for every client, whatever it is at", async (server) => {
  const root = await application(server, "a");
  const client = await connect(server);
  const both = await bothOf(client, root);
  for (const { key } of both) expect(key).toMatch(/^[\w-]{22}$/);
  const busy = await server.connect();
  await busy.send("get", ...bunElements(root));
  await busy.receiveSession();
  const another = await connect(server);
  for (const each of [...both, ...both]) {
    expect(await follow(another, root, each.key)).toEqual(each);
  }
});

builtinTest("a key leads to no instance of another application", async (server) => {
  const [a, b] = [await application(server, "a"), await application(server, "b")];
  const client = await connect(server);
  const [ofA] = await bothOf(client, a);
  const ofB = await bothOf(client, b);
  for (let n = 0; n < 4; n++) {
    const got = await follow(client, b, ofA.key);
    expect(ofB).toContainEqual(got);
  }
});

builtinTest("whoever has no key comes to the same instance by his name", async (server) => {
  const root = await application(server, "a");
  const client = await connect(server);
  await bothOf(client, root);
  const names = ["10.0.0.1", "10.0.0.2", "::1", "10.0.0.3"];
  const first = new Map<string, Followed>();
  for (const name of names) first.set(name, await follow(client, root, name));
  expect(new Set([...first.values()].map(({ pid }) => pid)).size).toBe(2);
  const another = await connect(server);
  for (const [name, got] of first) expect(await follow(another, root, name)).toEqual(got);
});

builtinTest("the key of an instance that has died leads all to one other", async (server) => {
  const root = await application(server, "a");
  const client = await connect(server);
  const [gone, other] = await bothOf(client, root);
  process.kill(gone.pid, "SIGKILL");
  await until("it has left the pool", async () => (await client.inspect()).counters.deaths === 1);
  const next = await follow(client, root, gone.key);
  expect(next).toEqual(other);
  await until("there are two again", async () => (await client.inspect()).count === 2);
  for (let n = 0; n < 4; n++) expect(await follow(client, root, gone.key)).toEqual(next);
});

builtinTest("a token of more than 64 bytes ends its client", async (server) => {
  const client = await connect(server);
  await client.send("getSticky", "t", "x".repeat(65), ...bunElements("/nowhere"));
  await client.end();
});
