/**
 * Programs of applications that have left their instance's process group and session, so that not
 * even a parent shows whose they are: they are found and ended, those of others are not.
 */
import { describe, expect } from "bun:test";
import { chmodSync, lchownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import { faultTests, preloadersOf, request, writeFiles } from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { languages } from "../helpers/languages.ts";
import type { ServerUnderTest } from "../helpers/pool-server.ts";
import { childrenOf, isRunning, killIfThere, stop, untilGone } from "../helpers/processes.ts";
import type { RawClient } from "../helpers/raw-client.ts";

countDescriptors();
const faultTest = faultTests();

/** Ends all instances and preloaders. */
async function endAll(server: ServerUnderTest, client: RawClient): Promise<void> {
  await client.send("clear");
  await client.untilCount(0);
  for (const pid of preloadersOf(server)) killIfThere(pid);
}

describe.each(languages)("$name:", ({ file, options, programs }) => {
  faultTest("a daemon is ended with the last that its user has, and reaped", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "daemon", { [file]: programs.daemonizes });
    const daemon = Number((await request(client, root, options)).body);
    expect(isRunning(daemon)).toBe(true);
    await until("it is an orphan", () => childrenOf(server.pid).some(({ pid }) => pid === daemon));
    await endAll(server, client);
    await untilGone(daemon);
  });

  faultTest("so is one whose instance is killed", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "daemon", { [file]: programs.daemonizes });
    const { pid, body } = await request(client, root, options);
    process.kill(pid, "SIGKILL");
    await client.untilCount(0);
    for (const preloader of preloadersOf(server)) killIfThere(preloader);
    await untilGone(Number(body));
  });
});

const python = languages.find(({ name }) => name === "wsgi, conservative");
if (python === undefined) throw new Error("a language is missing");

/** On a request, starts a program in a session of its own, and stays its parent. */
const startsSession = `import subprocess
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return [str(child.pid).encode()]
`;

faultTest(
  "a program in a session of its own ends with its instance, that of another stays",
  async (server) => {
    const client = await server.connect();
    const { options } = python;
    const [one, two] = ["one", "two"].map((name) =>
      writeFiles(server, name, { "wsgi.py": startsSession }),
    ) as [string, string];
    const first = await request(client, one, options);
    const second = await request(client, two, options);
    await stop(second.pid); // It shall not notice anything.
    const inspected = await client.inspect();
    expect(inspected.count).toBe(2);
    // As a restart does it: the one is let go, the other serves on.
    const restart = join(one, "tmp");
    Bun.spawnSync(["mkdir", restart]);
    Bun.spawnSync(["touch", join(restart, "restart.txt")]);
    await request(client, one, options);
    await untilGone(Number(first.body));
    expect(isRunning(Number(second.body))).toBe(true);
    process.kill(second.pid, "SIGCONT");
    await endAll(server, client);
    await untilGone(Number(second.body));
  },
);

faultTest("a daemon of another user stays while that one has instances", async (server) => {
  const users = ["daemon", "bin"].map((name) => findUser(name));
  if (process.getuid?.() !== 0) throw new Error("this test needs root");
  for (const path of [server.files.directory, join(server.files.directory, "apps")]) {
    chmodSync(path, 0o755);
  }
  const client = await server.connect();
  const { file, options, programs } = python;
  const lowered = { ...options, lowerPrivilege: "true", lowestUser: "nobody" } as const;
  const started = [];
  for (const [index, user] of users.entries()) {
    const root = writeFiles(server, `app${index}`, { [file]: programs.daemonizes });
    lchownSync(join(root, file), user?.uid ?? 0, user?.gid ?? 0);
    const { pid, body } = await request(client, root, lowered);
    const status = readFileSync(`/proc/${body}/status`, "utf8");
    expect(status).toContain(`Uid:\t${user?.uid}`);
    started.push({ pid, daemon: Number(body) });
  }
  const [alices, bobs] = started as [(typeof started)[0], (typeof started)[0]];
  process.kill(alices.pid, "SIGKILL");
  await untilGone(alices.daemon);
  expect(isRunning(bobs.daemon)).toBe(true);
  await endAll(server, client);
  await untilGone(bobs.daemon);
});

faultTest("outputs that daemons hold open are read of the last instances alone", async (server) => {
  const client = await server.connect();
  const { file, options, programs } = python;
  const beside = writeFiles(server, "beside", { [file]: programs.daemonizes });
  await request(client, beside, options); // One of the user's stays.
  const pipes = () =>
    [...openDescriptors(server.pid).values()].filter((name) => name.startsWith("pipe:")).length;
  const before = pipes();
  const root = writeFiles(server, "restarts", { [file]: programs.daemonizes });
  mkdirSync(join(root, "tmp"));
  const daemons: number[] = [];
  for (let i = 0; i < 24; i += 1) {
    writeFileSync(join(root, "tmp/restart.txt"), "");
    daemons.push(Number((await request(client, root, options)).body));
  }
  const perOutput = 2; // What is read, and a duplicate to hand it over by.
  await until("no more are held", () => pipes() <= before + (16 + 1) * perOutput);
  expect(daemons.filter(isRunning)).toHaveLength(24);
  await endAll(server, client);
  for (const daemon of daemons) await untilGone(daemon);
});
