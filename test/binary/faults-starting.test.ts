/**
 * Faults of applications that are being started: they hang, fail, flood or garble, many at once and
 * again and again. Others never notice, whoever asked is told, and nothing is left.
 */
import { describe, expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

import {
  builtin,
  configure,
  faultTests,
  receiveRefusal,
  refusal,
  request,
  sendRequest,
  writeFiles,
} from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { bothWays, languages, type Behaviour } from "../helpers/languages.ts";
import { childrenOf, looksAtFiles } from "../helpers/processes.ts";

countDescriptors();
const faultTest = faultTests();

/** How each failure to start is told. */
const told: readonly (readonly [Behaviour, RegExp])[] = [
  ["exits", /exited with status 3 before it[^]*this is why/],
  ["dies", /ended by SIGKILL before it/],
  ["garbles", /'abc'/],
  ["breaks off", /before it/],
  ["floods", /after the flood/],
];

// No language has a say in these.
describe.each(bothWays)("$name:", ({ file, options, programs }) => {
  faultTest(
    "one that hangs in its start holds nobody back, and is ended at its time limit",
    async (server) => {
      const [waiting, client] = [await server.connect(), await server.connect()];
      const hanging = writeFiles(server, "hanging", { [file]: programs.hangs });
      const serving = writeFiles(server, "serving", { [file]: programs.serves });
      await configure(client, hanging, { spawnTimeoutMs: 2_000 });
      await waiting.sendGet(hanging, options);
      await until("it is being started", async () => (await client.inspect()).spawning === 1);
      expect((await request(client, serving, options)).head).toStartWith("Status: 200");
      expect((await receiveRefusal(waiting)).message).toContain("2000 ms");
      const [begun, failed] = [`spawning app=${serving}`, `spawn failed app=${hanging}`];
      expect(server.log().indexOf(begun)).toBeGreaterThan(0);
      expect(server.log().indexOf(begun)).toBeLessThan(server.log().indexOf(failed));
    },
  );

  faultTest(
    "100 first gets at once of a cold application start at most max instances",
    { ...builtin, max: 3 },
    async (server) => {
      const client = await server.connect();
      const root = writeFiles(server, "cold", { [file]: programs.serves });
      for (let i = 0; i < 100; i += 1) await client.sendGet(root, options);
      for (let i = 0; i < 100; i += 1) await client.closeSession(await client.receiveSession());
      const { counters, count } = await client.inspect();
      expect(counters.spawnsBegun).toBeLessThanOrEqual(3);
      expect([counters.spawnsFailed, counters.grants]).toEqual([0, 100]);
      expect(count).toBe(counters.spawnsDone);
    },
  );

  faultTest("one that crashes at each request is soon not started at once", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "crashing", { [file]: programs.crashes });
    const isPaused = async () => (await client.inspect()).applications[0]?.pauseMs !== null;
    for (let i = 0; i === 0 || (i < 20 && !(await isPaused())); i += 1) {
      const session = await client.get(root, options);
      await sendRequest(session);
      await client.untilCount(0);
      await client.closeSession(session);
    }
    const { spawnsBegun } = (await client.inspect()).counters;
    for (let i = 0; i < 10; i += 1) {
      expect((await refusal(client, root, options)).message).toContain("after it was ready");
    }
    expect((await client.inspect()).counters.spawnsBegun).toBe(spawnsBegun);
  });
});

describe.each(languages)("$name:", ({ file, options, programs }) => {
  faultTest("what fails to start is told why on a page, however it fails", async (server) => {
    const client = await server.connect();
    for (const [behaviour, words] of told) {
      const root = writeFiles(server, behaviour, { [file]: programs[behaviour] });
      const { message, page } = await refusal(client, root, options);
      expect(message).toStartWith(`Cannot spawn application '${root}': `);
      expect(`${message}${page}`).toMatch(words);
      expect(page.length).toBeLessThan(64_000);
    }
  });

  faultTest("one that closes its output serves all the same", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "closed", { [file]: programs["closes output"] });
    const { pid, body } = await request(client, root, options);
    expect(body).toBe(String(pid));
  });
});

const [bun] = languages;
if (bun === undefined) throw new Error("there is no language");
const { file, options, programs } = bun;

faultTest(
  "50 cold applications at once are started some at a time, in the order they were asked for",
  { ...builtin, max: 60 },
  async (server) => {
    const watcher = await server.connect();
    const names = Array.from({ length: 50 }, (_, index) => `cold${index}`);
    const clients = await Promise.all(
      names.map(async (name) => ({ name, client: await server.connect() })),
    );
    // None is ready before there is a file beside their directories.
    const held = `while (!require("fs").existsSync(import.meta.dir + "/../go")) Bun.sleepSync(5);`;
    const program = `${programs.serves}\n${held}\n`;
    let root = "";
    for (const { name, client } of clients) {
      root = writeFiles(server, name, { [file]: program });
      await client.sendGet(root, options);
      const hasArrived = async () =>
        (await watcher.inspect()).applications.some((application) => application.root === root);
      await until("the get has arrived", hasArrived);
    }
    const sessions = clients.map(({ client }) => client.receiveSession());
    const look = async () => {
      const { applications } = await watcher.inspect();
      const inState = (wanted: string) =>
        applications
          .filter(({ spawns }) => spawns.some(({ state }) => state === wanted))
          .map((application) => names.findIndex((name) => application.root.endsWith(`/${name}`)));
      return { begun: inState("begun"), planned: inState("planned") };
    };
    const atOnce = 2 * availableParallelism();
    await until("the first are begun", async () => (await look()).begun.length >= atOnce);
    writeFileSync(join(root, "..", "go"), "");
    const patienceMs = 30_000; // Fifty starts, on processors that others want, too.
    const areAllThere = async () => {
      const { begun, planned } = await look();
      expect(begun.length).toBeLessThanOrEqual(atOnce);
      expect(Math.max(-1, ...begun)).toBeLessThan(Math.min(names.length, ...planned));
      return (await watcher.number("getCount")) === names.length;
    };
    await until("all are there", areAllThere, undefined, patienceMs);
    await Promise.all(sessions);
    for (const { client } of clients) client.close();
  },
);

faultTest("one that fails 1,000 times is tried a few times, and after a repair", async (server) => {
  const client = await server.connect();
  const root = writeFiles(server, "broken", { [file]: 'throw new Error("broken yet");' });
  mkdirSync(join(root, "tmp"));
  for (let i = 0; i < 1000; i += 1) {
    const { message, page } = await refusal(client, root, options);
    expect(`${message}${page}`).toContain("broken yet");
  }
  const { counters, applications } = await client.inspect();
  expect(counters.refusals["spawnFailed"]).toBe(1000);
  expect(counters.spawnsBegun).toBeLessThanOrEqual(10);
  expect(applications[0]?.pauseMs).toBeGreaterThan(0);
  expect(childrenOf(server.pid).filter((one) => !looksAtFiles(one))).toEqual([]);
  writeFileSync(join(root, file), programs.serves);
  writeFileSync(join(root, "tmp/restart.txt"), "");
  expect((await request(client, root, options)).head).toStartWith("Status: 200");
});
