/** Sections 4 and 6: instances that die, refuse, are full, or are not what they should be. */
import { describe, expect } from "bun:test";
import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { connectUnix, listenUnix, pathAddress, receive } from "../../src/native/socket.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests, type ServerUnderTest } from "../helpers/pool-server.ts";
import { kill, killIfThere, stop, untilGone } from "../helpers/processes.ts";
import { appElements, exchange } from "../helpers/raw-client.ts";

/** The sockets in the directory where the applications are. */
function sockets(server: ServerUnderTest): string[] {
  const directory = join(server.files.directory, "apps");
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .filter((path) => lstatSync(path).isSocket());
}

/**
 * Stops the process of an instance and fills the backlog of its socket, behind the server's back.
 */
async function stopAndFill(pid: number, path: string): Promise<Disposable> {
  await stop(pid);
  const streams: OwnedFd[] = [];
  for (;;) {
    const stream = connectUnix(pathAddress(path));
    if (stream === "full") break;
    streams.push(stream);
  }
  return {
    [Symbol.dispose]() {
      killIfThere(pid, "SIGCONT");
      for (const stream of streams) stream.close();
    },
  };
}

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("instances that die, idle or busy, leave the counts without waiting for a get", async (server) => {
    const client = await server.connect();
    const root = server.app("padded");
    const [idle, busy, intact] = [
      await client.get(root),
      await client.get(root),
      await client.get(root),
    ];
    await client.closeSession(idle);
    for (const { pid } of [idle, busy]) process.kill(pid, "SIGKILL");
    await client.untilCount(1);
    expect(await client.number("getActive")).toBe(1);
    await client.closeSession(busy);
    expect(await exchange(intact, "well")).toBe(`${intact.pid} well`);
  });

  test("a get right after its instance died is served by a new one", async (server) => {
    const client = await server.connect();
    const dead = await client.get(server.app("padded"));
    await client.closeSession(dead);
    await kill(dead.pid);
    const session = await client.get(server.app("padded"));
    expect(await exchange(session, "new")).toBe(`${session.pid} new`);
    expect(await client.number("getCount")).toBe(1);
  });

  test("after 10 instances that cannot be connected to, the get is an IOException, and the pool is empty", async (server) => {
    const client = await server.connect();
    const root = server.app("nolistener");
    const [name, message, ...rest] = await client.ask("get", ...appElements(root));
    expect([name, rest]).toEqual(["IOException", []]);
    expect(message).toStartWith(
      `Cannot connect to an existing application instance for '${root}': `,
    );
    expect(server.commands()).toHaveLength(10);
    expect(await client.number("getCount")).toBe(0);
  });

  test("a full backlog holds back its own gets only, and those are served when there is room", async (server) => {
    const client = await server.connect();
    await client.send("setMaxPerApp", "1");
    const first = await client.get(server.app("file"));
    const other = await server.connect();
    {
      using full = await stopAndFill(first.pid, sockets(server)[0] ?? "");
      void full;
      await client.sendGet(server.app("file"));
      for (let i = 0; i < 20; i += 1) {
        await other.closeSession(await other.get(server.app("padded-other")));
      }
      expect((await other.inspect()).sessions).toBe(2);
      expect(receive(client.fd, 1)).toBe("empty");
    }
    const late = await client.receiveSession();
    expect(await exchange(late, "at last")).toBe(`${first.pid} at last`);
  });

  test("an instance whose backlog is full is passed over for another that has room", async (server) => {
    const client = await server.connect();
    const root = server.app("file");
    const full = await client.get(root);
    const [path = ""] = sockets(server);
    const spare = await client.get(root);
    using filled = await stopAndFill(full.pid, path);
    void filled;
    // The full one is used first: it was used most recently.
    await client.closeSession(spare);
    await client.closeSession(full);
    const session = await client.get(root);
    expect(await exchange(session, "hello")).toBe(`${spare.pid} hello`);
    expect((await client.inspect()).counters.moves).toBe(1);
  });

  test("a client that leaves while its get waits for room gives it back", async (server) => {
    const client = await server.connect();
    await client.send("setMaxPerApp", "1");
    const session = await client.get(server.app("file"));
    using full = await stopAndFill(session.pid, sockets(server)[0] ?? "");
    void full;
    const leaver = await server.connect();
    await leaver.sendGet(server.app("file"));
    await until("it has a session", async () => (await client.inspect()).sessions === 2);
    leaver.close();
    await until("it gave it back", async () => (await client.inspect()).sessions === 1);
  });

  test("an instance that dies while a get waits for room in it: the get is served by another", async (server) => {
    const client = await server.connect();
    await client.send("setMaxPerApp", "1");
    const session = await client.get(server.app("file"));
    using full = await stopAndFill(session.pid, sockets(server)[0] ?? "");
    void full;
    const waiter = await server.connect();
    await waiter.sendGet(server.app("file"));
    await until("it has a session", async () => (await client.inspect()).sessions === 2);
    process.kill(session.pid, "SIGKILL");
    const served = await waiter.receiveSession();
    expect(served.pid).not.toBe(session.pid);
    expect(await exchange(served, "alive")).toBe(`${served.pid} alive`);
  });

  test("a socket on the file system is ours alone once spawned, and deleted when its instance is let go", async (server) => {
    const client = await server.connect();
    const session = await client.get(server.app("file"));
    expect(await exchange(session, "by file")).toBe(`${session.pid} by file`);
    const [path = ""] = sockets(server);
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
    await client.closeSession(session);
    await client.send("clear");
    await until("it is deleted", () => !existsSync(path));
  });

  test("an abstract socket is connected to in either form, padded or of exact length", async (server) => {
    const client = await server.connect();
    for (const name of ["exact-1", "padded-1", "exact-2", "padded-2", "exact-3"]) {
      const session = await client.get(server.app(name));
      expect(await exchange(session, name)).toBe(`${session.pid} ${name}`);
    }
  });

  test("a socket name that is a link, no socket, missing, or another user's fails the spawn", async (server) => {
    const client = await server.connect();
    for (const name of ["symlink", "regular", "nosocket", ...foreign()]) {
      const root = server.app(name);
      const [kindOf, message, page] = await client.ask("get", ...appElements(root));
      expect([name, kindOf, page]).toEqual([name, "SpawnException", "false"]);
      expect(message).toStartWith(`Cannot spawn application '${root}': `);
      expect(await client.number("getCount")).toBe(0);
    }
    const session = await client.get(server.app("file"));
    expect(await exchange(session, "fine")).toBe(`${session.pid} fine`);
    removeSockets(server);
  });

  test("a socket name that becomes another's is neither connected to nor deleted", async (server) => {
    const client = await server.connect();
    const root = server.app("file");
    const session = await client.get(root);
    await client.closeSession(session);
    const [path = ""] = sockets(server);
    rmSync(path);
    using impostor = listenUnix(pathAddress(path), 8);
    expect(impostor.open).toBe(true);
    const again = await client.get(root);
    expect(await exchange(again, "the same")).toBe(`${session.pid} the same`);
    await client.closeSession(again);
    await client.send("clear");
    await untilGone(session.pid);
    expect(existsSync(path)).toBe(true);
    rmSync(path);
  });

  test("an application root that is gone or a link that is switched is the spawn server's business", async (server) => {
    const client = await server.connect();
    const root = server.app("padded");
    mkdirSync(`${root}-v1`);
    symlinkSync(`${root}-v1`, root);
    const session = await client.get(root);
    await client.closeSession(session);
    rmSync(root);
    const again = await client.get(root);
    expect(again.pid).toBe(session.pid);
  });
});

/** Only root can make another user's socket. */
function foreign(): string[] {
  return process.geteuid?.() === 0 ? ["foreign-12345"] : [];
}

/** What a spawn server's failed tricks leave is not the server's to delete. */
function removeSockets(server: ServerUnderTest): void {
  for (const path of sockets(server)) rmSync(path);
}
