/** The 2.0 spawn server: kept running, asked one thing at a time, and survived whatever it does. */
import { afterEach, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

import { findUser, ignoreSignal, sendSignal, signals } from "../../src/native/process.ts";
import { SpawnServer } from "../../src/spawn/spawn-server.ts";
import type { SpawnServerOptions } from "../../src/spawn/spawn-server-process.ts";
import type { SpawnRequest } from "../../src/spawn/spawner.ts";
import { ascii, fromText } from "../../src/wire/bytes.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors, exhaustDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { childrenOf, isRunning, processFacts, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { spawnerContract } from "./contract.ts";
import { exchange, failureOf, notebook, spawnRequest } from "./support.ts";

const script = ascii(`${import.meta.dir}/../helpers/spawn-server.ts`);
const never = new AbortController().signal;

const temporaryDirectory = temporaryDirectories();
const opened: SpawnServer[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.close(never)));
});
// After the closing of the servers: hooks run in the order they are given in.
countDescriptors();

interface Scene {
  readonly server: SpawnServer;
  readonly notes: string[];
  readonly directory: string;
  /** A request that makes the scriptable spawn server behave as named. */
  readonly asking: (behaviour: string, changed?: Partial<SpawnRequest>) => SpawnRequest;
  /** What the spawn server got and wrote. */
  readonly log: () => string;
}

function scene(changed: Partial<SpawnServerOptions> = {}): Scene {
  const directory = temporaryDirectory();
  const logFile = `${directory}/log`;
  const { notify, notes } = notebook();
  const server = new SpawnServer({
    command: { ruby: ascii(process.execPath), script, logFile: fromText(logFile) },
    notify,
    ...changed,
  });
  opened.push(server);
  return {
    server,
    notes,
    directory,
    asking: (behaviour, more) => spawnRequest(`${directory}/${behaviour}`, more),
    log: () => (existsSync(logFile) ? readFileSync(logFile, "utf8") : ""),
  };
}

spawnerContract("the 2.0 spawn server", () => {
  const others = new Set(childrenOf(process.pid).map(({ pid }) => pid));
  const { server, asking } = scene();
  return {
    spawner: server,
    pid: () => childrenOf(process.pid).find(({ pid }) => !others.has(pid))?.pid ?? 0,
    working: asking("padded"),
    question: Buffer.from("hello"),
    failing: asking("noluck"),
    hanging: asking("hang"),
  };
});

test("is run as `ruby script`, with the room of 61 spaces for its title", async () => {
  const { server, asking, log } = scene();
  server.start();
  const instance = await server.spawn(asking("padded"));
  expect(log()).toStartWith(`started ${server.pid} [${" ".repeat(61)}]\n`);
  instance.release();
});

test("inherits stdin and its socket on descriptor 3, and nothing else of ours", async () => {
  const { server, asking, directory } = scene();
  const instance = await server.spawn(asking("padded"));
  const theirs = openDescriptors(server.pid);
  expect(theirs.get(0)).toBe(openDescriptors().get(0) ?? "");
  expect(theirs.get(1)).toBe(`${directory}/log`);
  expect(theirs.get(2)).toBe(`${directory}/log`);
  expect(theirs.get(3)).toStartWith("socket:");
  const ours = new Set(openDescriptors().values());
  const isShared = ([fd, what]: [number, string]): boolean =>
    fd > 3 && ours.has(what) && !what.startsWith("anon_inode:");
  const shared = () => [...openDescriptors(server.pid)].filter(isShared);
  // It closes its copy of the owner pipe a moment after it has sent us ours.
  await until("nothing else is shared", () => shared().length === 0, shared);
  instance.release();
});

/** A spawn server that writes what it is by a shell script, which any user may run, and exits. */
async function outputOf(lines: string, changed: Partial<SpawnServerOptions>): Promise<string> {
  const directory = temporaryDirectory();
  const ownScript = `${directory}/script`;
  writeFileSync(ownScript, lines);
  const { user } = changed.command ?? {};
  const command = {
    ruby: ascii("sh"),
    script: ascii(ownScript),
    logFile: ascii(`${directory}/log`),
    ...(user && { user }),
  };
  const { server, asking } = scene({ ...changed, command });
  await failureOf(server.spawn(asking("padded")));
  return readFileSync(`${directory}/log`, "utf8");
}

test("gets the descriptor limit back that the server was started with", async () => {
  const originalDescriptorLimit = { soft: 321n, hard: 4321n };
  const output = await outputOf("ulimit -Sn; ulimit -Hn; exit", { originalDescriptorLimit });
  expect(output).toStartWith("321\n4321\n");
});

test("starts with every signal at its default, whatever the server ignores", async () => {
  ignoreSignal(signals.SIGPIPE);
  const output = await outputOf("exec grep -E 'Sig(Ign|Blk)' /proc/self/status", {});
  expect(output).toStartWith("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
});

test("runs as the user it was given, with that user's groups and home", async () => {
  const user = findUser("nobody");
  if (process.getuid?.() !== 0 || user === undefined) throw new Error("this test needs root");
  const command = { ruby: ascii("sh"), script, user };
  const output = await outputOf('id -u; id -g; id -G; echo "$HOME $USER $LOGNAME"', { command });
  const { uid, gid, home } = user;
  expect(output).toStartWith(`${uid}\n${gid}\n${gid}\n${home} nobody nobody\n`);
});

test("inherits the environment byte for byte, without what was meant for the server", async () => {
  process.env["SPAWN_TEST_VARIABLE"] = "ü";
  process.env["NOTIFY_SOCKET"] = "/run/notify";
  process.env["LISTEN_FDS"] = "1";
  try {
    const output = await outputOf("env; exit", {});
    expect(output).toContain("SPAWN_TEST_VARIABLE=ü\n");
    expect(output).not.toMatch(/^(NOTIFY_SOCKET|LISTEN_FDS|APPLICATION_POOL_LAUNCH|BUN_)/m);
  } finally {
    delete process.env["SPAWN_TEST_VARIABLE"];
    delete process.env["NOTIFY_SOCKET"];
    delete process.env["LISTEN_FDS"];
  }
});

test("sends the six elements of a get, byte for byte", async () => {
  const { server, asking, log } = scene();
  const request = asking("padded", {
    environment: fromText("prödüction"),
    spawnMethod: "conservative",
    appType: "wsgi",
    lowerPrivilege: true,
  });
  const instance = await server.spawn(request);
  const said = `|true|nobody|prödüction|conservative|wsgi\n`;
  expect(log()).toContain(said);
  instance.release();
});

test("sends a reload before the next spawn, once for several of one application", async () => {
  const { server, asking, log } = scene();
  (await server.spawn(asking("padded"))).release();
  server.reload(fromText("/srv/a"));
  server.reload(fromText("/srv/b"));
  (await server.spawn(asking("padded"))).release();
  const lines = log()
    .split("\n")
    .filter((line) => line !== "");
  expect(lines.map((line) => line.split("|")[0])).toEqual([
    expect.stringContaining("started"),
    "spawn_application",
    "reload",
    "reload",
    "spawn_application",
  ]);
});

test("drops a reload when no spawn server runs: nothing is cached", async () => {
  const { server, asking, log } = scene();
  server.reload(fromText("/srv/a"));
  (await server.spawn(asking("padded"))).release();
  expect(log()).not.toContain("reload");
});

test("reads an answer that arrives byte by byte", async () => {
  const { server, asking } = scene();
  const instance = await server.spawn(asking("bytewise"));
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  instance.release();
});

test.each([
  ["emptypage", 0],
  ["bigpage", 300_000],
])("passes on the page of %s whole, and keeps the spawn server", async (behaviour, length) => {
  const { server, asking } = scene();
  server.start();
  const { pid } = server;
  const error = await failureOf(server.spawn(asking(behaviour)));
  expect(error.page?.length).toBe(length);
  expect(server.pid).toBe(pid);
});

const nonsense: readonly (readonly [string, string])[] = [
  ["crash", "it exited with status 1"],
  ["deaf", "it exited with status 0"],
  ["babble", "array message of 25185 bytes"],
  ["empty", "array message: it is empty"],
  ["badstatus", "'fine' with 1 elements"],
  ["badinfo", "'12' with 1 elements"],
  ["badpid", "pid is 0"],
  ["nodescriptor", "the byte came without one"],
  ["endlesspage", "4294967295 bytes"],
];

test.each(nonsense)("restarts it and asks once more after %s, then gives up", async (how, why) => {
  const { server, asking, log } = scene();
  const error = await failureOf(server.spawn(asking(how)));
  expect(error.page).toBeUndefined();
  expect(error.message).toContain("failed twice");
  expect(error.message).toContain(why);
  expect(log().match(/^started/gm)).toHaveLength(2);
  expect(log().match(/^spawn_application/gm)).toHaveLength(2);
  const instance = await server.spawn(asking("padded"));
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  instance.release();
});

test("succeeds at the second try when the first spawn server crashed", async () => {
  const { server, asking, log } = scene();
  const instance = await server.spawn(asking("crashonce"));
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  expect(log().match(/^started/gm)).toHaveLength(2);
  instance.release();
});

test("uses a whole answer of a spawn server that died directly after it", async () => {
  const { server, asking, log } = scene();
  const instance = await server.spawn(asking("answercrash"));
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  expect(log().match(/^spawn_application/gm)).toHaveLength(1);
  instance.release();
});

test.each(["hang", "partial"])("does not ask again after %s up to the time limit", async (how) => {
  const { server, asking, log } = scene();
  server.start();
  const { pid } = server;
  // Else the time might be up before it has read what it is asked.
  await until("it is warm", () => /^started/m.test(log()));
  const error = await failureOf(server.spawn(asking(how, { timeoutMs: 500 })));
  expect(error.message).toBe("the spawn server did not answer within 500 ms");
  expect(error.page).toBeUndefined();
  await untilGone(pid);
  await until("another is warm", () => log().match(/^started/gm)?.length === 2, log);
  expect(log().match(/^spawn_application/gm)).toHaveLength(1);
});

test.each(["noise", "twodescriptors"])("does not trust it any more after %s", async (how) => {
  const { server, asking } = scene();
  server.start();
  const { pid } = server;
  const instance = await server.spawn(asking(how));
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  await until("it has been ended", () => server.pid !== pid && !isRunning(pid));
  instance.release();
});

test("is not disturbed by what the spawn server writes to its log", async () => {
  const { server, asking } = scene();
  const instance = await server.spawn(asking("chatter"));
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  instance.release();
});

test("has pid 0 from its death until it is needed again", async () => {
  const { server, asking, notes } = scene();
  server.start();
  const { pid } = server;
  expect(processFacts(pid)?.parent).toBe(process.pid);
  sendSignal(pid, signals.SIGKILL);
  await until("its death is seen", () => server.pid === 0);
  expect(notes.at(-1)).toBe(`spawn server ended pid=${pid} why=it was ended by SIGKILL`);
  const instance = await server.spawn(asking("padded"));
  expect(server.pid).not.toBe(pid);
  instance.release();
});

test("is warm again by itself after a death, but only once until it has been used", async () => {
  const { server, asking } = scene();
  (await server.spawn(asking("padded"))).release();
  await Bun.sleep(1_000); // A shorter life is not answered by a start.
  const first = server.pid;
  sendSignal(first, signals.SIGKILL);
  const second = await until("another runs", () => server.pid !== first && server.pid);
  await Bun.sleep(1_000);
  sendSignal(second, signals.SIGKILL);
  await until("nobody runs", () => server.pid === 0);
  (await server.spawn(asking("padded"))).release();
  expect(server.pid).not.toBe(0);
});

test("notices the death although an instance holds the dead one's socket open", async () => {
  const { server, asking } = scene();
  const instance = await server.spawn(asking("leak"));
  const { pid } = server;
  sendSignal(pid, signals.SIGKILL);
  // If it has lived for a second, there is another at once.
  await until("its death is seen", () => server.pid !== pid);
  instance.release();
});

test("names a script or an interpreter that cannot be run in its error", async () => {
  const { directory } = scene();
  const logFile = fromText(`${directory}/log`);
  const command = { ruby: ascii("no-such-ruby"), script, logFile };
  const { server, asking } = scene({ command });
  const error = await failureOf(server.spawn(asking("padded")));
  expect(error.message).toContain("exited with status 127");
  expect(readFileSync(`${directory}/log`, "utf8")).toContain(
    "launching 'no-such-ruby': cannot find 'no-such-ruby' on PATH",
  );
});

test("uses the server's stderr when the log file cannot be opened, and says so", async () => {
  const { server, asking, notes } = scene({
    command: { ruby: ascii("true"), script, logFile: ascii("/no/such/directory/log") },
  });
  await failureOf(server.spawn(asking("padded")));
  expect(notes[0]).toBe(
    "log file unusable file=/no/such/directory/log why=open on /no/such/directory/log: ENOENT",
  );
});

test("loses only the spawn at hand when no descriptor is free for the owner pipe", async () => {
  const { server, asking } = scene();
  (await server.spawn(asking("padded"))).release();
  const { pid } = server;
  const underWay = failureOf(server.spawn(asking("slow-200")));
  {
    using none = exhaustDescriptors();
    void none;
    const error = await within("the spawn to fail", underWay);
    expect(error.message).toContain("for want of a free descriptor");
  }
  expect(server.pid).toBe(pid);
  const instance = await server.spawn(asking("padded"));
  expect(await exchange(instance, Buffer.from("x"))).toBe(`${instance.pid} x`);
  instance.release();
});

test("says why when no descriptor is free for starting it, and works afterwards", async () => {
  const { server, asking } = scene();
  let underWay: Promise<Error>;
  {
    using none = exhaustDescriptors();
    void none;
    underWay = failureOf(server.spawn(asking("padded")));
    await Promise.resolve();
    expect((await within("the spawn to fail", underWay)).message).toMatch(
      /^the spawn server could not be started: .*EMFILE/,
    );
  }
  (await server.spawn(asking("padded"))).release();
});

test("ends politely: its socket closes first, and it leaves by itself", async () => {
  const { server, asking } = scene();
  (await server.spawn(asking("padded"))).release();
  const { pid } = server;
  await server.close(never);
  expect(isRunning(pid)).toBe(false);
  expect(server.pid).toBe(0);
});

test("kills one that nothing polite moves, at once when in a hurry", async () => {
  process.env["SPAWN_SERVER_STAYS"] = "1";
  process.env["SPAWN_SERVER_IGNORES_TERM"] = "1";
  try {
    const { server, asking } = scene();
    (await server.spawn(asking("padded"))).release();
    const { pid } = server;
    await within("the end", server.close(AbortSignal.abort()), 4_000);
    expect(isRunning(pid)).toBe(false);
  } finally {
    delete process.env["SPAWN_SERVER_STAYS"];
    delete process.env["SPAWN_SERVER_IGNORES_TERM"];
  }
});
