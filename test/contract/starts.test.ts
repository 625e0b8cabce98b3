/** Section 10: applications that start badly, beside others, with the built-in spawner. */
import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

import type { ByteString } from "../../src/wire/bytes.ts";
import { builtinTest, bunApplication, bunElements } from "../helpers/builtin-server.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { untilGone } from "../helpers/processes.ts";
import { nextDescriptor, readToEnd, sendAll, type RawClient } from "../helpers/raw-client.ts";
import { encodeSessionHeaders } from "../helpers/peer-messages.ts";

countDescriptors();
const slots = 2 * availableParallelism();
const works = "export default { fetch: () => new Response('here') };";
/** Hangs in its start until it may go. */
const hangs = `import { existsSync } from "node:fs";
while (!existsSync("go")) await Bun.sleep(10);
process.exit(1);`;

async function spawnsOf(client: RawClient, root: string) {
  const all = (await client.inspect()).applications;
  return all.find((application) => application.root === root)?.spawns ?? [];
}

builtinTest("an application that hangs in every spawn delays no other's", async (server) => {
  const options = { concurrency: 1 };
  const [hanging, other] = [
    await bunApplication(server, "hangs", hangs, options),
    await bunApplication(server, "works", works),
  ];
  const client = await server.connect();
  await client.openChannel();
  for (let i = 0; i < slots; i += 1) {
    await client.send("getTagged", `t${i}`, ...bunElements(hanging));
  }
  const next = await server.connect();
  await next.send("get", ...bunElements(other));
  await next.receiveSession();
  const spawns = await spawnsOf(next, hanging);
  expect(spawns.filter(({ state }) => state === "begun")).toHaveLength(slots / 2);
  writeFileSync(join(hanging, "go"), "");
  for (let i = 0; i < slots; i += 1) {
    const [name, , message] = await client.receive();
    expect([name, message?.includes("exited with status 1")]).toEqual(["SpawnException", true]);
    await client.receiveScalar();
  }
});

builtinTest(
  "fifty cold applications at once are all started, so many at a time",
  async (server) => {
    const count = 50;
    const client = await server.connect();
    await client.openChannel();
    await client.send("setMax", String(count));
    for (let i = 0; i < count; i += 1) {
      const root = await bunApplication(server, `cold${i}`, works);
      await client.send("getTagged", `t${i}`, ...bunElements(root));
    }
    const tags = [];
    let most = 0;
    const witness = await server.connect();
    for (let i = 0; i < count; i += 1) {
      const { applications } = await witness.inspect();
      const spawns = applications.flatMap((application) => application.spawns);
      most = Math.max(most, spawns.filter(({ state }) => state === "begun").length);
      const [ok, tag] = await client.receive();
      expect(ok).toBe("ok");
      tags.push(tag);
      (await nextDescriptor(client.channel.number)).close();
    }
    expect(new Set(tags).size).toBe(count);
    expect(most).toBeLessThanOrEqual(slots);
  },
);

/** One request; whether the instance answered, or the refusal's message. */
async function request(client: RawClient, root: string): Promise<string> {
  await client.send("get", ...bunElements(root));
  const [name, message = "", id = ""] = await client.receive();
  if (name !== "ok") return message;
  const stream = await nextDescriptor(client.fd);
  const headers = [["REQUEST_METHOD", "GET"]] as [string, string][];
  const head = encodeSessionHeaders(headers as [ByteString, ByteString][]);
  // The death of the last request's instance is noticed a moment later: this one may meet it.
  const answer = await sendAll(stream.number, head)
    .then(() => readToEnd(stream.number))
    .catch(() => "");
  stream.close();
  await client.send("close", id);
  return answer === "" ? "died" : "answered";
}

builtinTest("an application that crashes on every request is soon left alone", async (server) => {
  const root = await bunApplication(
    server,
    "crashes",
    "export default { fetch() { process.kill(process.pid, 'SIGKILL'); } };",
  );
  const client = await server.connect();
  const answers: string[] = [];
  await until("its gets are refused", async () => {
    answers.push(await request(client, root));
    return answers.at(-1)?.startsWith("Cannot spawn");
  });
  expect(answers.at(-1)).toMatch(/^Cannot spawn application '.*crashes': it died \d+ ms after/);
  expect((await client.inspect()).counters.spawnsBegun).toBeLessThanOrEqual(11);
  expect(await request(client, root)).toBe(answers.at(-1) ?? "");
});

builtinTest("an instance that is killed once is replaced at once", async (server) => {
  const root = await bunApplication(server, "works", works);
  const client = await server.connect();
  const { pid } = await killFirst(client, root);
  await untilGone(pid);
  expect(await request(client, root)).toBe("answered");
});

async function killFirst(client: RawClient, root: string) {
  await client.send("get", ...bunElements(root));
  const session = await client.receiveSession();
  process.kill(session.pid, "SIGKILL");
  await client.closeSession(session);
  return session;
}
