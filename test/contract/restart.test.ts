/** Section 7: restart.txt. */
import { describe, expect } from "bun:test";
import {
  existsSync,
  mkdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";

import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests, type ServerUnderTest } from "../helpers/pool-server.ts";
import { isRunning, untilGone } from "../helpers/processes.ts";
import {
  appElements,
  exchange,
  frame,
  nextDescriptor,
  type RawClient,
} from "../helpers/raw-client.ts";

/** An application with its tmp directory; returns its root and the path of its restart.txt. */
function application(server: ServerUnderTest, name = "padded"): [root: string, restart: string] {
  const root = server.app(name);
  mkdirSync(Buffer.from(`${root}/tmp`, "latin1"), { recursive: true });
  return [root, `${root}/tmp/restart.txt`];
}

/** Gets a session, gives it back, and returns whose it was. */
async function servedBy(client: RawClient, root: string): Promise<number> {
  const session = await client.get(root);
  await client.closeSession(session);
  return session.pid;
}

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("restart.txt is deleted by the next get, which is served by a new instance, once", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    const old = await servedBy(client, root);
    writeFileSync(restart, "");
    const fresh = await servedBy(client, root);
    expect(fresh).not.toBe(old);
    expect(existsSync(restart)).toBe(false);
    expect(await servedBy(client, root)).toBe(fresh);
    await untilGone(old);
    expect(await client.number("getCount")).toBe(1);
  });

  test("a touch is heeded by the next get of any client, and once by many that are sent at once", async (server) => {
    const [client, other] = [await server.connect(), await server.connect()];
    await client.openChannel();
    const [root, restart] = application(server);
    const many = ["a", "b", "c"].map((tag) => frame("getTagged", tag, ...appElements(root)));
    let old = await servedBy(other, root);
    for (let round = 0; round < 5; round += 1) {
      writeFileSync(restart, "");
      await client.sendBytes(Buffer.concat(many));
      for (const _ of many) {
        const [ok, , pid, id = ""] = await client.receive();
        expect([ok, pid === String(old)]).toEqual(["ok", false]);
        (await nextDescriptor(client.channel.number)).close();
        await client.send("close", id);
      }
      writeFileSync(restart, "");
      const fresh = await servedBy(other, root);
      expect(fresh).not.toBe(old);
      expect(await client.number("getCount")).toBe(1);
      old = fresh;
    }
  });

  test("the spawn server is told to reload, before it is asked to spawn", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    await servedBy(client, root);
    writeFileSync(restart, "");
    await servedBy(client, root);
    const commands = server.commands().map((line) => line.split("|").slice(0, 2).join("|"));
    expect(commands).toEqual([
      `spawn_application|${root}`,
      `reload|${root}`,
      `spawn_application|${root}`,
    ]);
  });

  test("open sessions go on with the old instance to their end", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    const old = await client.get(root);
    writeFileSync(restart, "");
    const fresh = await client.get(root);
    expect(await exchange(old, "old")).toBe(`${old.pid} old`);
    expect(await exchange(fresh, "new")).toBe(`${fresh.pid} new`);
    expect(await client.number("getCount")).toBe(1);
    await client.closeSession(old);
    await untilGone(old.pid);
  });

  test("all instances of the application go, and none of another", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    const [other] = application(server, "padded-other");
    const olds = [await client.get(root), await client.get(root)];
    const kept = await servedBy(client, other);
    for (const old of olds) await client.closeSession(old);
    writeFileSync(restart, "");
    await servedBy(client, root);
    await until("they have left", () => olds.every(({ pid }) => !isRunning(pid)));
    expect(await servedBy(client, other)).toBe(kept);
  });

  test("a restart.txt from before the first instance is left alone until there is one", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    writeFileSync(restart, "");
    const first = await servedBy(client, root);
    expect(existsSync(restart)).toBe(true);
    expect(await servedBy(client, root)).not.toBe(first);
    expect(existsSync(restart)).toBe(false);
  });

  test("one that cannot be deleted restarts once for each time of change, forwards or backwards", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    const pids = [await servedBy(client, root)];
    // Not even root can unlink a directory.
    mkdirSync(restart);
    for (const mtime of [
      undefined,
      undefined,
      2_000_000_000,
      2_000_000_000,
      1_000_000_000,
      1_000_000_000.5,
    ]) {
      if (mtime !== undefined) utimesSync(restart, mtime, mtime);
      pids.push(await servedBy(client, root));
    }
    const changes = pids.map((pid, i) => i > 0 && pid !== pids[i - 1]);
    expect(changes).toEqual([false, true, false, true, false, true, true]);
  });

  test("one that was there, went and came back restarts again, with the same time of change", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    const pids = [await servedBy(client, root)];
    for (let i = 0; i < 2; i += 1) {
      mkdirSync(restart);
      utimesSync(restart, 1_500_000_000, 1_500_000_000);
      pids.push(await servedBy(client, root));
      rmdirSync(restart);
      pids.push(await servedBy(client, root));
    }
    const [a, b, c, d, e] = pids;
    expect([b === a, c === b, d === c, e === d]).toEqual([false, true, false, true]);
  });

  test("a dangling link is deleted and restarts like a file", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server);
    const old = await servedBy(client, root);
    symlinkSync("/nowhere/at/all", restart);
    expect(await servedBy(client, root)).not.toBe(old);
    expect(() => rmSync(restart)).toThrow("ENOENT");
  });

  test("without a tmp directory, or where it is a file, nothing restarts", async (server) => {
    const client = await server.connect();
    const root = server.app("padded");
    const first = await servedBy(client, root);
    mkdirSync(root);
    expect(await servedBy(client, root)).toBe(first);
    writeFileSync(`${root}/tmp`, "");
    expect(await servedBy(client, root)).toBe(first);
  });

  test("a root of any bytes has its own restart.txt", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server, "padded-\xff \xfe");
    const old = await servedBy(client, root);
    writeFileSync(Buffer.from(restart, "latin1"), "");
    expect(await servedBy(client, root)).not.toBe(old);
    expect(existsSync(Buffer.from(restart, "latin1"))).toBe(false);
  });

  test("touched while an instance is being spawned, it restarts with the next get", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server, "slow-100");
    await client.sendGet(root);
    await until("the spawn is under way", () => server.commands().length === 1);
    writeFileSync(restart, "");
    const first = await client.receiveSession();
    await client.closeSession(first);
    expect(await servedBy(client, root)).not.toBe(first.pid);
    expect(existsSync(restart)).toBe(false);
  });

  test("an application that cannot be spawned after a restart says so, and works again once it can", async (server) => {
    const client = await server.connect();
    const [root, restart] = application(server, "crashonce");
    writeFileSync(`${root}.crashed`, "");
    const old = await servedBy(client, root);
    rmSync(`${root}.crashed`);
    writeFileSync(restart, "");
    // It dies once over it, is started again, and then answers.
    const fresh = await servedBy(client, root);
    expect(fresh).not.toBe(old);
    expect(await client.number("getCount")).toBe(1);
  });
});
