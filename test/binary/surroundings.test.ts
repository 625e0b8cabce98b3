/**
 * What surrounds the server (environment, directory, limits, descriptors), and what children see.
 */
import { expect } from "bun:test";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";

import { findUser } from "../../src/native/process.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { until } from "../helpers/condition.ts";
import { serverTests, type ServerFiles } from "../helpers/pool-server.ts";
import { childrenOf } from "../helpers/processes.ts";
import { exchange } from "../helpers/raw-client.ts";

countDescriptors();
const binaryTest = serverTests("binary");

/** The environment of a process. */
function environmentOf(pid: number): Record<string, string> {
  const entries = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").slice(0, -1);
  return Object.fromEntries(entries.map((entry) => entry.split(/=(.*)/s, 2) as [string, string]));
}

function openFilesLimit(pid: number): string[] {
  const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
  return /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits)?.slice(1) ?? [];
}

/** Fills the working directory with files that a runtime would take orders from. */
function setTraps({ directory }: ServerFiles): void {
  const spring = `require("node:fs").writeFileSync(${JSON.stringify(`${directory}/sprung`)}, "");`;
  writeFileSync(`${directory}/trap.js`, spring);
  writeFileSync(`${directory}/bunfig.toml`, 'preload = ["./trap.js"]\n[run]\nbun = true\n');
  writeFileSync(`${directory}/.env`, "APPLICATION_POOL_MAX=1\nFROM_DOT_ENV=1\nBUN_BE_BUN=1\n");
  writeFileSync(`${directory}/.env.local`, "FROM_DOT_ENV=1\n");
  writeFileSync(`${directory}/package.json`, '{"type":"commonjs","imports":{"#x":"./trap.js"}}');
  writeFileSync(`${directory}/tsconfig.json`, '{"compilerOptions":{"paths":{"*":["./trap.js"]}}}');
}

/** A spawn server that a runtime's traps cannot touch: it notes what it was given, and waits. */
const noting = "env -0 >environment\nulimit -n >limit\necho started\nexec cat <&3 >/dev/null\n";

binaryTest(
  "files in its working directory give it no orders, and it passes none on",
  { binary: { prepare: setTraps, shellSpawnServer: noting } },
  async (server) => {
    const client = await server.connect();
    expect((await client.inspect()).limits.max).toBe(20);
    expect(readFileSync(`${server.files.directory}/environment`, "utf8")).not.toContain("DOT_ENV");
    expect(existsSync(`${server.files.directory}/sprung`)).toBe(false);
  },
);

binaryTest(
  "its children see none of what steers the server, its runtime or its supervisor",
  {
    environment: {
      NOTIFY_SOCKET: "/run/none",
      LISTEN_PID: "1",
      LISTEN_FDS: "3",
      LISTEN_FDNAMES: "a",
      KEPT: "as it is \xe9",
      EMPTY: "",
      LARGE: "x".repeat(100_000),
    },
  },
  async (server) => {
    const spawnServer = environmentOf(await server.spawnServerPid());
    const names = Object.keys(spawnServer);
    const strange = names.filter((name) =>
      /^(BUN_|NOTIFY_|LISTEN_|NODE_CHANNEL|APPLICATION_POOL)/.test(name),
    );
    expect(strange).toEqual([]);
    expect(Buffer.from(spawnServer["KEPT"] ?? "", "latin1").toString()).toBe("as it is \xe9");
    expect([spawnServer["EMPTY"], spawnServer["LARGE"]?.length]).toEqual(["", 100_000]);
  },
);

binaryTest(
  "bytes in its environment that are not UTF-8 reach its children",
  { binary: { wrapper: ["sh", "-c", 'ODD="$(printf "a\\377b")" exec "$0" "$@"'] } },
  async (server) => {
    expect(environmentOf(await server.spawnServerPid())["ODD"]).toBe("a\xffb");
  },
);

binaryTest(
  "it raises its limit of descriptors to the most; its spawn server gets the one it was given",
  {
    binary: {
      // The shell stays as the parent: the limit is inherited from it.
      wrapper: ["sh", "-c", 'ulimit -Sn 100; "$0" "$@"; exit $?'],
      shellSpawnServer: noting,
    },
  },
  async (server) => {
    const [child] = childrenOf(server.pid);
    const [soft, hard] = openFilesLimit(child?.pid ?? 0);
    expect(soft).toBe(hard ?? "no limit");
    expect(readFileSync(`${server.files.directory}/limit`, "utf8")).toBe("100\n");
  },
);

binaryTest(
  "its spawn server has its socket on 3 and nothing else of the server's",
  async (server) => {
    const client = await server.connect();
    await client.openChannel();
    await client.get(server.app("file"));
    const files = openDescriptors(await server.spawnServerPid());
    const mine = openDescriptors(server.pid);
    const shared = [...files].filter(([fd, what]) => fd > 3 && [...mine.values()].includes(what));
    expect(files.get(3)).toStartWith("socket:");
    expect(files.get(1)).toBe(server.files.output);
    expect(files.get(2)).toBe(server.files.output);
    expect(shared.filter(([, what]) => /^(socket|pipe):/.test(what))).toEqual([]);
  },
);

binaryTest(
  "with stdin, stdout and stderr closed it works, and none of its sockets takes their numbers",
  {
    binary: { wrapper: ["sh", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-'] },
  },
  async (server) => {
    const client = await server.connect();
    const session = await client.get(server.app("padded"));
    expect(await exchange(session, "hello")).toBe(`${session.pid} hello`);
    const taken = [...openDescriptors(server.pid)].filter(
      ([fd, what]) => fd < 3 && !what.startsWith("/dev/null"),
    );
    expect(taken).toEqual([]);
  },
);

binaryTest(
  "without a LOG_FILE the spawn server writes to the server's own stderr",
  { binary: { logFile: "" } },
  async (server) => {
    const pid = await server.spawnServerPid();
    await until("it has said so", () => server.log().includes(`started ${pid} [`));
  },
);

binaryTest(
  "as root it runs the spawn server as USER, with his groups; otherwise as itself",
  {
    binary: {
      user: "nobody",
      prepare: ({ directory }) => chmodSync(directory, 0o755),
      // Not the scriptable one: nobody may not be able to enter where the checkout lies.
      shellSpawnServer: "echo started\nexec cat <&3 >/dev/null\n",
    },
  },
  async (server) => {
    const status = readFileSync(`/proc/${await server.spawnServerPid()}/status`, "utf8");
    const line = (name: string): string[] =>
      new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1]?.trim().split(/\s+/) ?? [];
    const nobody = findUser("nobody");
    if (process.geteuid?.() === 0) {
      expect(line("Uid")).toEqual(Array(4).fill(String(nobody?.uid)));
      expect(line("Gid")).toEqual(Array(4).fill(String(nobody?.gid)));
      expect(line("Groups")).toEqual([String(nobody?.gid)]);
    } else {
      expect(line("Uid")[0]).toBe(String(process.geteuid?.()));
    }
  },
);

binaryTest(
  "its log is text lines at LOGLEVEL 1: what is notable, not every message",
  { logLevel: 1 },
  async (server) => {
    const client = await server.connect();
    await client.get(server.app("padded"));
    expect(server.log()).toMatch(/^\S+Z notice instance spawned app=\S+ pid=\d+ ms=\d+$/m);
    expect(server.log()).not.toContain("debug");
  },
);

binaryTest("its log is JSON when asked for", { logFormat: "json" }, async (server) => {
  const client = await server.connect();
  await client.get(server.app("padded"));
  const events = server
    .log()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string });
  expect(events.map(({ event }) => event)).toContain("instance spawned");
});

binaryTest(
  "a child of the program that became the server is reaped when it ends",
  { binary: { wrapper: ["sh", "-c", 'sleep 0.2 & exec "$0" "$@"'] } },
  async (server) => {
    await server.connect();
    const commands = () => childrenOf(server.pid).map(({ command }) => command);
    const strangers = () => commands().filter((command) => !command.includes("spawn-server"));
    await until("the stranger is reaped", () => strangers().length === 0, commands);
  },
);
