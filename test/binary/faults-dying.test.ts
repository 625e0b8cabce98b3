/**
 * Faults of running instances and preloaders: killed, stopped, stuck, outlived by their daemons.
 * The pool notices by itself, who asks is served, and the server's end waits for none of them.
 */
import { describe, expect, test } from "bun:test";

import {
  configure,
  builtin,
  faultTests,
  preloadersOf,
  request,
  sendRequest,
  writeFiles,
} from "../helpers/builtin-apps.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { bothWays, languages, type Language } from "../helpers/languages.ts";
import { ServerUnderTest, withEndingServer } from "../helpers/pool-server.ts";
import {
  isRunning,
  kill,
  killIfThere,
  looksAtFiles,
  markedProcesses,
  pidOf,
  stop,
  untilGone,
} from "../helpers/processes.ts";
import { readToEnd, type RawClient } from "../helpers/raw-client.ts";

countDescriptors();
const faultTest = faultTests();

/** Starts an instance that is stuck in a request. @returns its pid and its child's. */
async function startStuck(server: ServerUnderTest, client: RawClient, language: Language) {
  const { file, options, programs } = language;
  const root = writeFiles(server, "stuck", { [file]: programs["is stuck"] });
  const session = await client.get(root, options);
  await sendRequest(session);
  const child = await until("its child is there", () => {
    return Number(/\] child (\d+)$/m.exec(server.output())?.[1] ?? 0) || undefined;
  });
  return { pid: session.pid, child };
}

/** Starts an instance that has a daemon. @returns its pid and the daemon's. */
async function startDaemon(server: ServerUnderTest, client: RawClient, language: Language) {
  const { file, options, programs } = language;
  const root = writeFiles(server, "daemon", { [file]: programs.daemonizes });
  const { pid, body } = await request(client, root, options);
  const daemon = Number(body);
  if (!isRunning(daemon)) throw new Error(`there is no daemon: ${body}`);
  return { root, pid, daemon };
}

// No language has a say in these.
describe.each(bothWays)("$name:", ({ file, options, programs }) => {
  faultTest("one killed while idle is noticed without a request", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "idle", { [file]: programs.serves });
    const { pid } = await request(client, root, options);
    process.kill(pid, "SIGKILL");
    await client.untilCount(0);
    expect((await client.inspect()).counters.deaths).toBe(1);
    const said = `instance died app=${root} pid=${pid} end="was ended by SIGKILL"`;
    await until("it is said how", () => server.log().includes(said));
  });

  faultTest("a get right after the kill is served by a new one", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "killed", { [file]: programs.serves });
    let { pid } = await request(client, root, options);
    for (let i = 0; i < 2; i += 1) {
      await kill(pid);
      const next = await request(client, root, options);
      expect(next.body).toBe(String(next.pid));
      expect(next.pid).not.toBe(pid);
      pid = next.pid;
    }
  });

  faultTest("a client of one that is killed sees the end of its session", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "stopped", { [file]: programs.serves });
    const session = await client.get(root, options);
    await stop(session.pid);
    await sendRequest(session);
    process.kill(session.pid, "SIGKILL");
    const answer = await readToEnd(session.stream.number).catch((error: unknown) => String(error));
    expect(answer).toMatch(/^$|ECONNRESET/);
    await client.closeSession(session);
    await client.untilCount(0);
  });

  faultTest(
    "one that is stopped shows by the age of its session, and can be killed",
    async (server) => {
      const client = await server.connect();
      const root = writeFiles(server, "stopped", { [file]: programs.serves });
      const { pid } = await request(client, root, options);
      await stop(pid);
      const session = await client.get(root, options);
      expect(session.pid).toBe(pid);
      await until("its session has an age", async () => {
        const [instance] = (await client.inspect()).applications[0]?.instances ?? [];
        return (instance?.oldestSessionMs ?? 0) > 20;
      });
      process.kill(pid, "SIGKILL");
      await client.untilCount(0);
      expect((await request(client, root, options)).pid).not.toBe(pid);
    },
  );

  test("killed outright in a request, a spawn and idleness, the server leaves nothing", async () => {
    const server = await ServerUnderTest.start("binary", builtin);
    const client = await server.connect();
    const idle = writeFiles(server, "idle", { [file]: programs.serves });
    await client.get(idle, options);
    const hanging = writeFiles(server, "hanging", { [file]: programs.hangs });
    await client.sendGet(hanging, options);
    await until("a spawn is under way", () => markedProcesses(server.mark).length > 2);
    await server.checkKilled();
  });
});

describe.each(languages)("$name:", (language) => {
  const { file, options, programs } = language;

  faultTest("a daemon that holds all its descriptors does not hide its death", async (server) => {
    const client = await server.connect();
    const { root, pid, daemon } = await startDaemon(server, client, language);
    process.kill(pid, "SIGKILL");
    await client.untilCount(0);
    const { body: second } = await request(client, root, options);
    for (const left of [daemon, Number(second)]) killIfThere(left);
  });

  test("the end of the server waits not for its daemon, and ends it", async () => {
    await withEndingServer("binary", builtin, async (server) => {
      const client = await server.connect();
      const { daemon } = await startDaemon(server, client, language);
      process.kill(server.pid, "SIGTERM");
      expect(await within("its end", server.ended, 4000)).toBe(0);
      await untilGone(daemon);
    });
  });

  test("one that is stuck and deaf to SIGTERM, and its child, do not outlive a hurried end", async () => {
    await withEndingServer("binary", builtin, async (server) => {
      const client = await server.connect();
      const { pid, child } = await startStuck(server, client, language);
      process.kill(server.pid, "SIGTERM");
      await until("it has begun to end", () => server.log().includes("server ends"));
      process.kill(server.pid, "SIGTERM");
      expect(await within("its end", server.ended, 6000)).toBe(0);
      await until("both are gone", () => !isRunning(pid) && !isRunning(child));
    });
  });

  faultTest("what it has started goes with it, killed or not", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "helped", { [file]: programs["has a helper"] });
    const first = await request(client, root, options);
    process.kill(first.pid, "SIGKILL");
    await untilGone(Number(first.body));
    const second = await request(client, root, options);
    await client.send("clear");
    await untilGone(Number(second.body));
  });

  test("what it has started goes with it also when the server is killed outright", async () => {
    const server = await ServerUnderTest.start("binary", builtin);
    const client = await server.connect();
    const root = writeFiles(server, "helped", { [file]: programs["has a helper"] });
    const { body: helper } = await request(client, root, options);
    await server.checkKilled();
    // One that is ending has no environment any more, and runs nevertheless.
    await untilGone(Number(helper));
  });
});

describe.each(languages.filter(({ options }) => options.spawnMethod === "smart"))(
  "$name:",
  ({ file, options, programs }) => {
    test("what the code started while it was loaded goes with a server killed outright", async () => {
      const server = await ServerUnderTest.start("binary", builtin);
      const client = await server.connect();
      const helper =
        file === "config.ru"
          ? 'spawn("sleep", "1000")\n'
          : 'import subprocess\nhelper = subprocess.Popen(["sleep", "1000"])\n';
      const root = writeFiles(server, "helped", { [file]: helper + programs.serves });
      await request(client, root, options);
      // Launch commands have ended: server, preloader, its helper, instance.
      const started = markedProcesses(server.mark).filter((one) => !looksAtFiles(one));
      expect(started).toHaveLength(4);
      await server.checkKilled();
    });

    faultTest(
      "instances outlive their killed preloader, and the next has a new one",
      async (server) => {
        const client = await server.connect();
        const root = writeFiles(server, "forked", { [file]: programs.serves });
        await configure(client, root, { concurrency: 1 });
        const first = await client.get(root, options);
        const [preloader = 0] = preloadersOf(server);
        await kill(preloader);
        await sendRequest(first);
        expect(await readToEnd(first.stream.number)).toEndWith(String(first.pid));
        // Its session is still open: the next get needs another instance.
        expect((await request(client, root, options)).pid).not.toBe(first.pid);
        await until("the new preloader is there", () => preloadersOf(server).length === 1);
        expect(preloadersOf(server)).not.toContain(preloader);
      },
    );

    faultTest(
      "the death of one whose preloader is gone is noticed all the same",
      async (server) => {
        const client = await server.connect();
        const root = writeFiles(server, "orphan", { [file]: programs.serves });
        const { pid } = await request(client, root, options);
        await kill(pidOf({ pid: preloadersOf(server)[0] }));
        process.kill(pid, "SIGKILL");
        await client.untilCount(0);
      },
    );

    faultTest("who waits for a preloader that hangs gets a fresh one", async (server) => {
      const client = await server.connect();
      const root = writeFiles(server, "hung", { [file]: programs.serves });
      await configure(client, root, { concurrency: 1 });
      await client.get(root, options);
      const [preloader = 0] = preloadersOf(server);
      await stop(preloader);
      const other = await server.connect();
      expect((await request(other, root, options)).head).toStartWith("Status: 200");
      await untilGone(preloader);
    });

    faultTest("a preloader that is stopped delays its own spawns only", async (server) => {
      const client = await server.connect();
      const [slow, other] = ["slow", "other"].map((name) =>
        writeFiles(server, name, { [file]: programs.serves }),
      );
      await client.get(slow ?? "", options);
      const [preloader = 0] = preloadersOf(server);
      await stop(preloader);
      const waiting = await server.connect();
      await waiting.sendGet(slow ?? "", options);
      expect((await request(client, other ?? "", options)).head).toStartWith("Status: 200");
      process.kill(preloader, "SIGCONT");
      expect((await waiting.receiveSession()).pid).toBeGreaterThan(0);
    });
  },
);
