/**
 * A parent that ends its server does not wait for instances: they finish what they have, what they
 * write is in the log, those that do not leave are ended, and then nothing is left.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { signals } from "../../src/native/process.ts";
import { builtin, request, sendRequest, writeFiles } from "../helpers/builtin-apps.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { type Language, languages } from "../helpers/languages.ts";
import { ServerUnderTest, withEndingServer } from "../helpers/pool-server.ts";
import { handles, isRunning, markedProcesses, pidOf } from "../helpers/processes.ts";
import { readToEnd, type RawSession } from "../helpers/raw-client.ts";

countDescriptors();

interface Late {
  readonly session: RawSession;
  readonly root: string;
}

/** Starts a request that is answered once `answer` has been called. */
async function startLate(
  server: ServerUnderTest,
  { file, options, programs }: Language,
): Promise<Late> {
  const client = await server.connect();
  const root = writeFiles(server, "late", { [file]: programs["answers late"] });
  const session = await client.get(root, options);
  await sendRequest(session);
  await until("the request is under way", () => server.output().includes("begins"));
  return { session, root };
}

function answer({ root }: Late): void {
  writeFileSync(join(root, "go"), "");
}

/** As a parent ends its server. @returns when it has seen the end. */
async function end(server: ServerUnderTest): Promise<void> {
  server.parent.close();
  process.kill(server.pid, "SIGINT");
  expect(await within("its end", server.ended, 4_000)).toBe(0);
}

describe.each(languages)("$name:", (language) => {
  test("an instance answers and is heard after its server has ended, and goes then", async () => {
    await withEndingServer("binary", builtin, async (server) => {
      const late = await startLate(server, language);
      await end(server);
      expect(isRunning(late.session.pid)).toBe(true);
      answer(late);
      expect((await readToEnd(late.session.stream.number)).split("late ")).toHaveLength(100_001);
      const lines = Array.from({ length: 1_000 }, (_, n) => `line ${n}`);
      const heard = () => [...server.output().matchAll(/\] (line \d+)$/gm)].map(([, line]) => line);
      await until("all that it wrote is there", () => heard().length === lines.length, heard);
      expect(heard()).toEqual(lines);
      await until("nothing is left", () => markedProcesses(server.mark).length === 0);
    });
  });
});

async function leaveStuck({ file, options, programs }: Language): Promise<void> {
  await withEndingServer("binary", builtin, async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "stuck", { [file]: programs["is stuck"] });
    await sendRequest(await client.get(root, options));
    await until("it is stuck", () => server.output().includes("] child "));
    await end(server);
    const left = () => markedProcesses(server.mark);
    await until("nothing is left", () => left().length === 0, left, 20_000);
  });
}

test("one that does not leave is ended with its child after its server, and nothing is left", async () => {
  const two = languages.filter(({ name }) => ["bun", "wsgi, smart"].includes(name));
  expect(two).toHaveLength(2);
  // Side by side, since most of it is the time that they have.
  await Promise.all(two.map(leaveStuck));
}, 40_000);

const [bun] = languages;
if (bun === undefined) throw new Error("no language");

test("the next server leaves the directory alone that instances of the last one still need", async () => {
  await withEndingServer("binary", builtin, async (server) => {
    const late = await startLate(server, bun);
    await end(server);
    const directories = () =>
      readdirSync(server.files.directory).filter((name) => name.startsWith("application-pool-"));
    const before = directories();
    expect(before).toHaveLength(1);
    const environment = { ...builtin.environment, TMPDIR: server.files.directory };
    const next = await ServerUnderTest.start("binary", { ...builtin, environment });
    const root = writeFiles(next, "serves", { [bun.file]: bun.programs.serves });
    await request(await next.connect(), root, bun.options);
    expect(directories()).toContain(before[0] ?? "");
    await next.finish();
    answer(late);
    await readToEnd(late.session.stream.number);
    await until("nothing is left", () => directories().length === 0);
  });
});

test("SIGTERM to who sees to the instances ends them at once", async () => {
  await withEndingServer("binary", builtin, async (server) => {
    const root = writeFiles(server, "stuck", { [bun.file]: bun.programs["is stuck"] });
    await sendRequest(await (await server.connect()).get(root, bun.options));
    await until("it is stuck", () => server.output().includes("] child "));
    await end(server);
    const left = () => markedProcesses(server.mark);
    const undertaker = await until("he is there", () =>
      left().find(({ command }) => command.includes("undertaker")),
    );
    // Before his first lines the signal would have its default effect.
    await until("he listens to signals", () => handles(undertaker.pid, signals.SIGTERM));
    process.kill(pidOf(undertaker), "SIGTERM");
    // Left alone, it and its child have 15 s.
    await until("nothing is left", () => left().length === 0, left);
  });
});

test("an idle instance is gone with its server, and nobody has to see to it", async () => {
  await withEndingServer("binary", { ...builtin, logLevel: 1 }, async (server) => {
    const root = writeFiles(server, "serves", { [bun.file]: bun.programs.serves });
    await request(await server.connect(), root, bun.options);
    await end(server);
    await until("nothing is left", () => markedProcesses(server.mark).length === 0);
  });
});
