/** Section 4: a spawn server that fails, hangs, babbles or dies. */
import { describe, expect } from "bun:test";

import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { serverKinds, serverTests, type ServerUnderTest } from "../helpers/pool-server.ts";
import { untilGone } from "../helpers/processes.ts";
import { appElements, exchange, type RawClient } from "../helpers/raw-client.ts";

/** Gets a session of a healthy application and uses it. */
async function expectHealthy(server: ServerUnderTest, client: RawClient): Promise<void> {
  const session = await client.get(server.app("padded"));
  expect(await exchange(session, "healthy")).toBe(`${session.pid} healthy`);
  await client.closeSession(session);
}

/** Asks for a session of an application that cannot be spawned; returns its message and page. */
async function failedGet(
  client: RawClient,
  root: string,
): Promise<{ message: string; page: string | undefined }> {
  const [name, message = "", hasPage, ...rest] = await client.ask("get", ...appElements(root));
  expect([name, rest]).toEqual(["SpawnException", []]);
  expect(message).toStartWith(`Cannot spawn application '${root}': `);
  return { message, page: hasPage === "true" ? await client.receiveScalar() : undefined };
}

function asked(server: ServerUnderTest, name: string): number {
  return server.commands().filter((line) => line.includes(`/${name}|`)).length;
}

describe.each([...serverKinds])("%s", (kind) => {
  const test = serverTests(kind);
  countDescriptors();

  test("the spawn server is started at once, with the 61 blanks it can write its title over", async (server) => {
    const pid = await server.spawnServerPid();
    expect(server.output()).toContain(`started ${pid} [${" ".repeat(61)}]\n`);
  });

  test("it is asked with the six elements of the get, byte for byte", async (server) => {
    const client = await server.connect();
    await client.get(server.app("padded"), {
      lowerPrivilege: "true",
      lowestUser: "somebody",
      environment: "staging",
      spawnMethod: "conservative",
      appType: "wsgi",
    });
    const asks = "true|somebody|staging|conservative|wsgi";
    expect(server.commands()).toEqual([`spawn_application|${server.app("padded")}|${asks}`]);
  });

  test("an error page is handed on, once for everybody who waited for that spawn", async (server) => {
    const [first, witness] = [await server.connect(), await server.connect()];
    await first.sendGet(server.app("slow-100"));
    const clients = [await server.connect(), await server.connect(), await server.connect()];
    for (const client of clients) await client.sendGet(server.app("errorpage"));
    await witness.untilWaiting(4);
    for (const client of clients) {
      const [name, , hasPage] = await client.receive();
      expect([name, hasPage]).toEqual(["SpawnException", "true"]);
      expect(await client.receiveScalar()).toBe("<html>no ruby today</html>");
    }
    expect(asked(server, "errorpage")).toBe(1);
    await first.receiveSession();
  });

  test("pages may be empty, and large", async (server) => {
    const client = await server.connect();
    expect((await failedGet(client, server.app("emptypage"))).page).toBe("");
    expect((await failedGet(client, server.app("bigpage"))).page).toBe("x".repeat(300_000));
    await expectHealthy(server, client);
  });

  test("whatever else goes wrong is tried once more, and then a refusal without a page", async (server) => {
    const client = await server.connect();
    const faults = [
      "crash",
      "deaf",
      "babble",
      "endlesspage",
      "empty",
      "badstatus",
      "badinfo",
      "badpid",
      "nodescriptor",
    ];
    for (const name of faults) {
      expect((await failedGet(client, server.app(name))).page).toBeUndefined();
      expect([name, asked(server, name)]).toEqual([name, 2]);
    }
    await expectHealthy(server, client);
  });

  test("a spawn server that dies over a spawn is started again, and the get is served", async (server) => {
    const client = await server.connect();
    const before = await server.spawnServerPid();
    const session = await client.get(server.app("crashonce"));
    expect(await exchange(session, "second try")).toBe(`${session.pid} second try`);
    expect(await client.number("getSpawnServerPid")).not.toBe(before);
  });

  test("answers that come byte by byte, amid 10 MB of output, or just before its death, count", async (server) => {
    const client = await server.connect();
    for (const name of ["bytewise", "chatter", "answercrash"]) {
      const session = await client.get(server.app(name));
      expect(await exchange(session, name)).toBe(`${session.pid} ${name}`);
    }
    await expectHealthy(server, client);
  });

  test("bytes and descriptors that nobody asked for cost the spawn server its life, and nobody else anything", async (server) => {
    const client = await server.connect();
    for (const name of ["noise", "twodescriptors"]) {
      const before = await server.spawnServerPid();
      const session = await client.get(server.app(name));
      await untilGone(before);
      expect(await exchange(session, "well")).toBe(`${session.pid} well`);
      await expectHealthy(server, client);
    }
  });

  test("a killed spawn server is replaced by the next spawn; running instances stay", async (server) => {
    const client = await server.connect();
    const session = await client.get(server.app("padded-a"));
    const before = await server.spawnServerPid();
    process.kill(before, "SIGKILL");
    await until("its death is seen", async () => {
      return (await client.number("getSpawnServerPid")) !== before;
    });
    expect(await exchange(session, "still")).toBe(`${session.pid} still`);
    await expectHealthy(server, client);
    expect(await client.number("getSpawnServerPid")).not.toBe(before);
  });

  test("a killed spawn server is noticed although an instance holds its socket open", async (server) => {
    const client = await server.connect();
    const session = await client.get(server.app("leak"));
    const before = await server.spawnServerPid();
    process.kill(before, "SIGKILL");
    await until("its death is seen", async () => {
      return (await client.number("getSpawnServerPid")) !== before;
    });
    await expectHealthy(server, client);
    expect(await exchange(session, "well")).toBe(`${session.pid} well`);
  });

  test("the spawn server may be killed again and again in the middle of spawns", async (server) => {
    const client = await server.connect();
    for (let i = 0; i < 5; i += 1) {
      const before = await server.spawnServerPid();
      await client.sendGet(server.app("slow-50"));
      await until("it is asked", () => asked(server, "slow-50") > 2 * i);
      process.kill(before, "SIGKILL");
      const session = await client.receiveSession();
      expect(await exchange(session, "served")).toBe(`${session.pid} served`);
      await until("it was asked twice", () => asked(server, "slow-50") === 2 * i + 2);
    }
  });

  test(
    "a spawn that hangs is refused at the time limit, once, and holds up no warm application",
    { spawnTimeoutSeconds: 5 },
    async (server) => {
      const other = await server.connect();
      await other.closeSession(await other.get(server.app("padded")));
      const client = await server.connect();
      for (const name of ["hang", "partial"]) {
        const before = await server.spawnServerPid();
        await client.sendGet(server.app(name));
        await until("it is asked", () => asked(server, name) === 1);
        for (let i = 0; i < 10; i += 1) await expectHealthy(server, other);
        expect((await other.inspect()).waiting).toBe(1);
        const [kindOf, , hasPage] = await client.receive();
        expect([name, kindOf, hasPage]).toEqual([name, "SpawnException", "false"]);
        expect([name, asked(server, name)]).toEqual([name, 1]);
        await untilGone(before);
      }
      expect((await other.get(server.app("padded-new"))).pid).toBeGreaterThan(0);
    },
  );

  test("clear, closes and disconnects during a spawn leave nothing behind", async (server) => {
    const clients = [await server.connect(), await server.connect()];
    for (const client of clients) await client.sendGet(server.app("slow-100"));
    const witness = await server.connect();
    await until("it is asked", () => asked(server, "slow-100") === 1);
    await witness.send("clear");
    for (const client of clients) client.close();
    await until("nothing is left", async () => {
      const { count, waiting, spawning, leaving } = await witness.inspect();
      return count + waiting + spawning + leaving === 0;
    });
  });
});
