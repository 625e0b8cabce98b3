/**
 * The built-in spawner where something has run out: descriptors, processes, room for the log, a
 * place for its files. Whoever asked is told, the rest of the pool runs on, and all is well when
 * there is enough again.
 */
import { describe, expect } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { builtin, faultTests, refusal, request, writeFiles } from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { exhaust, relieve, roomyWrapper } from "../helpers/descriptor-shortage.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { bothWays } from "../helpers/languages.ts";
import { childrenOf, looksAtFiles } from "../helpers/processes.ts";

countDescriptors();
const faultTest = faultTests();
const roomy = { ...builtin, binary: { builtin: true, wrapper: roomyWrapper } };

describe.each(bothWays)("$name:", ({ file, options, programs }) => {
  const files = { [file]: programs.serves };

  faultTest(
    "without a free descriptor warm ones are served, cold ones refused until there is",
    roomy,
    async (server) => {
      const client = await server.connect();
      const [warm, cold] = [writeFiles(server, "warm", files), writeFiles(server, "cold", files)];
      const { pid } = await request(client, warm, options);
      await exhaust(server);
      expect((await request(client, warm, options)).pid).toBe(pid);
      expect((await refusal(client, cold, options)).message).toContain("EMFILE");
      relieve(server);
      expect((await request(client, cold, options)).head).toStartWith("Status: 200");
    },
  );

  faultTest(
    "without a process to be had the spawn is refused at once, and not tried again and again",
    async (server) => {
      if (process.getuid?.() !== 0) throw new Error("this test needs root");
      for (const path of [server.files.directory, join(server.files.directory, "apps")]) {
        chmodSync(path, 0o755);
      }
      const client = await server.connect();
      const root = writeFiles(server, "limited", files);
      const lowered = { ...options, lowerPrivilege: "true", lowestUser: "nobody" };
      // It binds nobody's processes, not root's; and none is above it until there is one.
      await using _ = Bun.spawn(["setpriv", "--reuid=nobody", "--clear-groups", "sleep", "60"]);
      const before = processLimit(server.pid);
      setProcessLimit(server.pid, "0");
      for (let i = 0; i < 20; i += 1) {
        expect((await refusal(client, root, lowered)).message).toMatch(/EAGAIN|fork/);
      }
      expect((await client.inspect()).counters.spawnsBegun).toBeLessThanOrEqual(4);
      expect(childrenOf(server.pid).filter((one) => !looksAtFiles(one))).toEqual([]);
      setProcessLimit(server.pid, before);
      mkdirSync(join(root, "tmp"));
      writeFileSync(join(root, "tmp/restart.txt"), "");
      expect((await request(client, root, lowered)).head).toStartWith("Status: 200");
    },
  );
});

/** The soft limit (getrlimit(2), RLIMIT_NPROC). */
function processLimit(pid: number): string {
  const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
  return /^Max processes +(\S+)/m.exec(limits)?.[1] ?? "";
}

function setProcessLimit(pid: number, soft: string): void {
  const run = Bun.spawnSync(["prlimit", `--pid=${pid}`, `--nproc=${soft}:`]);
  if (!run.success) throw new Error(run.stderr.toString());
}

const [bun] = bothWays;
if (bun === undefined) throw new Error("there is no language");
const { file, options } = bun;
const talks = {
  [file]: `export default {
    fetch: () => { console.log("x".repeat(9999)); return new Response("x"); },
  };`,
};

faultTest(
  "a LOG_FILE without room costs output, nothing else",
  {
    ...builtin,
    binary: { builtin: true, prepare: ({ output }) => symlinkSync("/dev/full", output) },
  },
  async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "talks", talks);
    const { pid } = await request(client, root, options);
    for (let i = 0; i < 50; i += 1) expect((await request(client, root, options)).pid).toBe(pid);
  },
);

faultTest(
  "a stderr without room costs the log, nothing else",
  {
    ...builtin,
    logLevel: 4,
    binary: {
      builtin: true,
      logFile: "",
      wrapper: ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"],
    },
  },
  async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "talks", talks);
    for (let i = 0; i < 50; i += 1) await request(client, root, options);
  },
);

faultTest(
  "a LOG_FILE that cannot be opened anew is said, and the old one kept",
  {
    ...builtin,
    binary: {
      builtin: true,
      prepare: ({ directory, output }) => {
        mkdirSync(join(directory, "logs"));
        symlinkSync(join(directory, "logs/output.log"), output);
      },
    },
  },
  async (server) => {
    const { directory } = server.files;
    const client = await server.connect();
    const root = writeFiles(server, "talks", talks);
    await request(client, root, options);
    renameSync(join(directory, "logs"), join(directory, "moved"));
    process.kill(server.pid, "SIGHUP");
    const kept = Bun.file(join(directory, "moved/output.log"));
    const isSaid = async () => (await kept.text()).includes("could not be reopened");
    await until("it is said there", isSaid);
    await request(client, root, options);
    const lines = async () => (await kept.text()).split("xxx\n").length - 1;
    await until("it gets what is said next", async () => (await lines()) >= 2, lines);
    renameSync(join(directory, "moved"), join(directory, "logs"));
  },
);

faultTest(
  "where there is no place for its files spawns are refused, until there is one",
  { ...builtin, environment: { ...builtin.environment, TMPDIR: "nowhere" } },
  async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "placeless", talks);
    const place = join(server.files.directory, "nowhere");
    expect((await refusal(client, root, options)).message).toContain("ENOENT");
    writeFileSync(place, "");
    expect((await refusal(client, root, options)).message).toMatch(/ENOTDIR|EEXIST/);
    rmSync(place);
    mkdirSync(place);
    mkdirSync(join(root, "tmp"));
    writeFileSync(join(root, "tmp/restart.txt"), "");
    expect((await request(client, root, options)).head).toStartWith("Status: 200");
  },
);
