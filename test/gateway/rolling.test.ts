/**
 * Restarts under load through the whole of `serve`, in every language: no request fails, a version
 * that does not start changes nothing, and the log and the status say what became of it.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { residentBytesOf } from "../../src/native/process-stat.ts";
import { until } from "../helpers/condition.ts";
import { gateways, poolOf, statusOf } from "../helpers/gateway.ts";
import { pidOf, stop } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

interface Kind {
  readonly name: string;
  readonly file: string;
  readonly says: (version: string) => string;
  readonly broken: string;
}

const ofBun = (version: string): string =>
  `export default { fetch: () => new Response("${version}") };\n`;

const kinds: readonly Kind[] = [
  {
    name: "rack",
    file: "config.ru",
    says: (version) => `run ->(_) { [200, { "content-type" => "text/plain" }, ["${version}"]] }\n`,
    broken: 'raise "this version is broken"\n',
  },
  {
    name: "wsgi",
    file: "passenger_wsgi.py",
    says: (version) => `def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"${version}"]
`,
    broken: 'raise RuntimeError("this version is broken")\n',
  },
  {
    name: "node",
    file: "app.js",
    says: (version) =>
      `require("http").createServer((_, answer) => answer.end("${version}")).listen(3000);\n`,
    broken: 'throw new Error("this version is broken");\n',
  },
  {
    name: "bun",
    file: "server.ts",
    says: ofBun,
    broken: 'throw new Error("this version is broken");\n',
  },
];

/** Connections that ask one after the other for as long as they are let. */
class Load {
  readonly statuses = new Map<number, number>();
  /** Those that answered requests made since they were forgotten: an old one may finish late. */
  versions = new Set<string>();
  readonly #visitors: Promise<void>[];
  #isOver = false;

  constructor(address: string, connections: number) {
    this.#visitors = Array.from({ length: connections }, () => this.#visit(address));
  }

  forgetVersions(): void {
    this.versions = new Set();
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#visitors);
  }

  async #visit(address: string): Promise<void> {
    while (!this.#isOver) {
      const { versions } = this;
      const answer = await fetch(address);
      versions.add(await answer.text());
      this.statuses.set(answer.status, (this.statuses.get(answer.status) ?? 0) + 1);
    }
  }
}

test.each(kinds)("$name: under load a restart costs nothing, good or broken", async (kind) => {
  const directory = temporaryDirectory();
  const root = join(directory, "app");
  mkdirSync(join(root, "tmp"), { recursive: true });
  const deploy = (text: string): void => {
    writeFileSync(join(root, kind.file), text);
    writeFileSync(join(root, "tmp/restart.txt"), "");
  };
  writeFileSync(join(root, kind.file), kind.says("one"));
  const args = ["--max", "4", "--log-level", "1", "--access-log", "off", "--port", "0"];
  const gateway = startGateway([root, "--type", kind.name, ...args]);
  const address = await gateway.address();
  const load = new Load(address, 16);
  await until("it serves", () => load.versions.has("one"));

  deploy(kind.says("two"));
  await until("two serves", () => load.versions.has("two"));
  await until(
    "two alone serves",
    () => gateway.log.includes("application restarted"),
    () => gateway.log,
  );
  load.forgetVersions();
  await until("it goes on", () => load.versions.size > 0);

  deploy(kind.broken);
  await until(
    "it is given up",
    () => gateway.log.includes("restart given up: the old instances serve on"),
    () => gateway.log,
  );
  const pool = await poolOf(gateway);
  const counters = { restarts: 1, restartsRefused: 1 };
  expect(pool.applications[0]).toMatchObject({ rollout: "refused", counters });
  expect(pool.applications[0]?.lastSpawnError?.message).toContain("this version is broken");
  load.forgetVersions();
  await until("it goes on", () => load.versions.size > 0);
  expect([...load.versions]).toEqual(["two"]);

  deploy(kind.says("three"));
  await until("three serves", () => load.versions.has("three"));
  await load.end();
  expect([...load.statuses.keys()]).toEqual([200]);
  await gateway.end();
});

test("a version that hangs in its start is ended as soon as a newer one comes", async () => {
  const root = join(temporaryDirectory(), "app");
  mkdirSync(join(root, "tmp"), { recursive: true });
  const deploy = (text: string): void => {
    writeFileSync(join(root, "server.ts"), text);
    writeFileSync(join(root, "tmp/restart.txt"), "");
  };
  writeFileSync(join(root, "server.ts"), ofBun("one"));
  const gateway = startGateway([root, "--type", "bun", "--log-level", "1", "--port", "0"]);
  const address = await gateway.address();
  const ask = async (): Promise<string> => (await fetch(address)).text();
  expect(await ask()).toBe("one");
  deploy('console.log("it hangs");\nawait Bun.sleep(1e9);\nexport default {};\n');
  const starting = await until("it hangs in its start", async () => {
    expect(await ask()).toBe("one");
    const { pool } = await statusOf(gateway);
    const { spawns = [], instances = [] } = pool?.applications[0] ?? {};
    const serving = instances.map(({ pid }) => pid);
    const started = gateway.processes.filter(({ command }) => command.includes("preload.js"));
    return spawns.length > 0 && started.find(({ pid }) => !serving.includes(pid));
  });
  // Before that it may not have read its file.
  await gateway.logged("it hangs");
  deploy(ofBun("two"));
  await until("two serves", async () => (await ask()) === "two");
  await until(
    "what hung is gone",
    () => !gateway.processes.some(({ pid }) => pid === starting.pid),
  );
  await gateway.logged("notice spawn given up", "there is newer code to be started");
  await gateway.end();
});

test("processes are there before anybody asks, and one that has served enough is replaced", async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  const program = "export default { fetch: () => new Response(String(process.pid)) };\n";
  writeFileSync(join(directory, "app/server.ts"), program);
  const file = join(directory, "pool.toml");
  const limits = 'min_instances = 1\nmax_requests = 50\nidle_time = "0s"\n';
  writeFileSync(
    file,
    `listen = ["127.0.0.1:0"]\n[log]\nlevel = 1\n[[apps]]\nroot = "app"\n${limits}`,
  );
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  const first = await until("one is there", async () => {
    const { pool } = await statusOf(gateway);
    return pool?.applications[0]?.instances[0]?.pid;
  });
  const ask = async (): Promise<number> => Number(await (await fetch(address)).text());
  expect(await ask()).toBe(first);
  const pids = new Set<number>();
  await until("another serves", async () => {
    pids.add(await ask());
    return pids.size > 1;
  });
  await until("the log says why", () => gateway.log.includes("reason=requests"));
  expect((await poolOf(gateway)).applications[0]?.instances.length).toBe(1);
  await gateway.end();
});

test("one that grows is replaced, one that grows too much ended; others serve", async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "app"));
  const program = `import { existsSync } from "node:fs";
  const kept = []; export default { fetch: ({ url }) => {
    const mib = Number(new URL(url).searchParams.get("mib") ?? 0);
    const grow = () => existsSync(\`grow-\${mib}\`) && kept.push(Buffer.alloc(mib * 2 ** 20, 1));
    if (mib > 0) { const timer = setInterval(() => grow() && clearInterval(timer), 10); }
    return new Response(String(process.pid));
  } };\n`;
  writeFileSync(join(directory, "app/server.ts"), program);
  const file = join(directory, "pool.toml");
  const patience = 20_000;
  const limits = 'max_memory = "200m"\nhard_memory = "600m"\n';
  writeFileSync(
    file,
    `listen = ["127.0.0.1:0"]\nsilence_time = "0s"\n[log]\nlevel = 1\n[[apps]]\n` +
      `root = "app"\n${limits}`,
  );
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  const ask = async (mib = 0): Promise<string> => (await fetch(`${address}?mib=${mib}`)).text();
  // Growing takes a while, within which nobody is to look.
  const grow = async (mib: number): Promise<string> => {
    const pid = await ask(mib);
    await stop(pidOf(gateway.poolServer));
    writeFileSync(join(directory, `app/grow-${mib}`), "");
    const isGrown = () => (residentBytesOf(Number(pid)) ?? 0) > mib * 2 ** 20;
    await until("it has grown", isGrown, () => gateway.log, patience);
    process.kill(pidOf(gateway.poolServer), "SIGCONT");
    return pid;
  };
  const first = await grow(220);
  await until("another serves", async () => (await ask()) !== first);
  await gateway.logged("reason=memory");
  await grow(620);
  const isEnded = () => gateway.log.includes("it uses more memory than it may");
  await until("it is ended", isEnded, () => gateway.log, patience);
  expect(Number(await ask())).toBeGreaterThan(1);
  await gateway.logged("reason=hardMemory");
  const { retirements } = (await poolOf(gateway)).counters;
  expect(retirements).toMatchObject({ memory: 1, hardMemory: 1, overdue: 0 });
  await gateway.end();
}, 60_000);
