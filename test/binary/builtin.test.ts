/**
 * The binary with nothing else installed: its built-in spawner, and what its instances are given.
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { request, writeFiles } from "../helpers/builtin-apps.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { serverTests, ServerUnderTest, withEndingServer } from "../helpers/pool-server.ts";
import { untilGone } from "../helpers/processes.ts";
import { appElements } from "../helpers/raw-client.ts";

countDescriptors();
const binaryTest = serverTests("binary");
const builtin = { binary: { builtin: true }, environment: { PATH: "/nonexistent" } };
const bun = { appType: "bun" };

/** Writes an application with one file, server.ts. @returns its root. */
function application(server: ServerUnderTest, name: string, source: string): string {
  return writeFiles(server, name, { "server.ts": source });
}

const shows = `export default {
  fetch: () => Response.json({ env: process.env, cwd: process.cwd(), pid: process.pid }),
};`;

binaryTest(
  "a bun application is served by the binary alone, from its own directory",
  builtin,
  async (server) => {
    const client = await server.connect();
    expect(await client.number("getSpawnServerPid")).toBe(server.pid);
    const root = application(server, "shows", shows);
    const { pid, head, body } = await request(client, root, {
      appType: "bun",
      environment: "staging",
    });
    expect(head).toStartWith("Status: 200");
    const seen = JSON.parse(body) as { env: Record<string, string>; cwd: string; pid: number };
    expect([seen.cwd, seen.pid]).toEqual([root, pid]);
    for (const name of ["RACK_ENV", "RAILS_ENV", "NODE_ENV", "WSGI_ENV", "APP_ENV"]) {
      expect([name, seen.env[name]]).toEqual([name, "staging"]);
    }
    const strange = /^(BUN_|APPLICATION_POOL|NOTIFY_SOCKET|LISTEN_)/;
    expect(Object.keys(seen.env).filter((name) => strange.test(name))).toEqual([]);
  },
);

binaryTest(
  "an unknown type or spawn method is refused by name, and costs a client nothing else",
  builtin,
  async (server) => {
    const client = await server.connect();
    await client.openChannel();
    const root = application(server, "shows", shows);
    const { pid } = await request(client, root, bun);
    for (const [tag, word] of Object.entries({ appType: "php", spawnMethod: "fast" })) {
      const elements = appElements(server.app(tag), { ...bun, [tag]: word });
      const [kind, of, message, hasPage] = await client.ask("getTagged", tag, ...elements);
      expect([kind, of, hasPage]).toEqual(["SpawnException", tag, "true"]);
      expect(message).toContain(`'${word}'`);
      expect(await client.receiveScalar()).toContain(word);
    }
    expect((await request(client, root, bun)).pid).toBe(pid);
  },
);

binaryTest(
  "an instance holds descriptors 0 to 4 and nothing of the server's or of another instance's",
  builtin,
  async (server) => {
    const client = await server.connect();
    const pids = [];
    for (const name of ["a", "b"]) {
      pids.push((await request(client, application(server, name, shows), bun)).pid);
    }
    const kinds = /^(socket|pipe):/;
    const ends = [server.pid, ...pids].map((pid) => {
      return [...openDescriptors(pid).values()].filter((what) => kinds.test(what));
    });
    const [ofServer = [], ofA = [], ofB = []] = ends;
    expect(ofA.filter((what) => ofServer.includes(what) && what.startsWith("socket:"))).toEqual([]);
    expect(ofA.filter((what) => ofB.includes(what))).toEqual([]);
    const first = openDescriptors(pids[0] ?? 0);
    expect(first.get(0)).toBe("/dev/null");
    expect([1, 2].map((fd) => first.get(fd)?.split(":")[0])).toEqual(["pipe", "pipe"]);
    expect([3, 4].map((fd) => first.get(fd)?.split(":")[0])).toEqual(["socket", "socket"]);
  },
);

binaryTest(
  "files of an application that a runtime would take orders from have no say",
  builtin,
  async (server) => {
    const client = await server.connect();
    const root = application(server, "trapped", shows);
    const sprung = join(server.files.directory, "sprung");
    writeFileSync(
      join(root, "trap.js"),
      `require("fs").writeFileSync(${JSON.stringify(sprung)}, "")`,
    );
    writeFileSync(join(root, "bunfig.toml"), 'preload = ["./trap.js"]\n');
    writeFileSync(join(root, ".env"), "FROM_DOT_ENV=1\n");
    const { body } = await request(client, root, bun);
    expect(body).not.toContain("FROM_DOT_ENV");
    expect(existsSync(sprung)).toBe(false);
  },
);

binaryTest(
  "what an application writes is in LOG_FILE, and after a rotation in the new one",
  builtin,
  async (server) => {
    const client = await server.connect();
    const fetch = `fetch() { console.log("said something"); return new Response("x"); }`;
    const source = `export default { ${fetch} };`;
    const root = application(server, "talks", source);
    const { pid } = await request(client, root, bun);
    const line = `[${root} ${pid}] said something\n`;
    await until(
      "it is in the log",
      () => server.output().includes(line),
      () => server.output(),
    );
    renameSync(server.files.output, `${server.files.output}.1`);
    process.kill(server.pid, "SIGHUP");
    await until("the log is opened anew", () => existsSync(server.files.output));
    await request(client, root, bun);
    await until("it is in the new log", () => server.output().includes(line));
    expect(readFileSync(`${server.files.output}.1`, "utf8").split(line)).toHaveLength(2);
  },
);

binaryTest(
  "an application that cannot be started is an error page that says why",
  builtin,
  async (server) => {
    const client = await server.connect();
    const broken = application(server, "broken", `throw new Error("no <database> today");`);
    for (const [root, words] of [
      [broken, "no &lt;database&gt; today"],
      [server.app("absent"), "absent"],
    ] as const) {
      const [name, , hasPage] = await client.ask("get", ...appElements(root, { appType: "bun" }));
      expect([name, hasPage]).toEqual(["SpawnException", "true"]);
      expect(await client.receiveScalar()).toContain(words);
    }
  },
);

test("an instance that is stuck does not outlive a hurried end", async () => {
  const stuck = `
    export default { fetch() { setTimeout(() => { for (;;); }, 1); return new Response("x"); } };`;
  await withEndingServer("binary", builtin, async (server) => {
    const client = await server.connect();
    const { pid } = await request(client, application(server, "stuck", stuck), bun);
    process.kill(server.pid, "SIGTERM");
    await until("it has begun to end", () => server.log().includes("server ends"));
    process.kill(server.pid, "SIGTERM");
    expect(await within("its end", server.ended, 4000)).toBe(0);
    await untilGone(pid);
  });
});

test("killed outright, the server leaves no instance behind", async () => {
  const server = await ServerUnderTest.start("binary", builtin);
  const client = await server.connect();
  await request(client, application(server, "a", shows), bun);
  await server.checkKilled();
});
