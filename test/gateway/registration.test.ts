/**
 * The supervisor configures the pool: as much as there is, when it is in force, and again for each
 * pool server; workers have no part in it.
 */
import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { binaryPath } from "../helpers/binary-server.ts";
import { until } from "../helpers/condition.ts";
import { type Gateway, gateways, poolOf } from "../helpers/gateway.ts";
import { pidOf, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Says how long its variables are, what color it has, and which process it is. */
const program = `export default { async fetch(request) {
  if (new URL(request.url).pathname.endsWith("/slow")) await Bun.sleep(500);
  const { A = "", B = "", COLOR } = process.env;
  return new Response([A.length, B.length, COLOR, process.pid].join());
} };`;

interface Site {
  readonly gateway: Gateway;
  readonly address: string;
  readonly directory: string;
  /** Writes another file, sends SIGHUP and waits for the event. */
  change(text: string, event?: string): Promise<void>;
}

const head = 'listen = ["127.0.0.1:0"]\n[log]\nlevel = 1\naccess = "off"\n';

function appTable(name: string, more = ""): string {
  return `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\ntype = "bun"\n${more}`;
}

async function start(text: string, names: readonly string[]): Promise<Site> {
  const directory = temporaryDirectory();
  const file = join(directory, "pool.toml");
  mkdirSync(join(directory, "code"));
  writeFileSync(join(directory, "code/server.ts"), program);
  for (const name of names) {
    mkdirSync(join(directory, name));
    symlinkSync("../code/server.ts", join(directory, name, "server.ts"));
  }
  writeFileSync(file, text);
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  const count = (event: string): number => gateway.log.split(event).length;
  return {
    gateway,
    address,
    directory,
    async change(other, event = "configuration reloaded") {
      const before = count(event);
      writeFileSync(file, other);
      gateway.signal("SIGHUP");
      await until(
        event,
        () => count(event) > before,
        () => gateway.log,
      );
    },
  };
}

/** Asks on a connection of its own. @returns what the application says of itself. */
async function ask({ address }: Site, path: string) {
  const answer = await fetch(`${address}${path}`, { keepalive: false });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`status ${answer.status}: ${text}`);
  const [a, b, color, pid] = text.split(",");
  return { lengths: [Number(a), Number(b)], color, pid: Number(pid) };
}

/** Has an application started anew at its next request. */
function touch({ directory }: Site, name: string): void {
  mkdirSync(join(directory, name, "tmp"), { recursive: true });
  writeFileSync(join(directory, name, "tmp/restart.txt"), "");
  utimesSync(join(directory, name, "tmp/restart.txt"), Date.now() / 1000, Date.now() / 1000);
}

const red = '[apps.env]\nCOLOR = "red"\n';
const blue = '[apps.env]\nCOLOR = "blue"\n';

test("2,000 applications in one file are served, and so is a reload to 2,000 others", async () => {
  const names = Array.from({ length: 4000 }, (_, index) => `a${index}`);
  const tables = (from: number): string =>
    names
      .slice(from, from + 2000)
      .map((name) => appTable(name))
      .join("");
  const site = await start(head + tables(0), names);
  for (const index of [0, 301, 1999]) {
    expect((await ask(site, `/a${index}/`)).pid).toBeGreaterThan(1);
  }
  await site.change(head + tables(2000));
  for (const index of [2000, 3999]) expect((await ask(site, `/a${index}/`)).pid).toBeGreaterThan(1);
  expect((await fetch(`${site.address}/a0/`)).status).toBe(404);
  await site.gateway.end();
}, 60_000);

test("an application has more than 128 KiB of variables, whatever they hold", async () => {
  const variables = `[apps.env]\nA = "${"x".repeat(125_000)}"\nB = "${"é".repeat(60_000)}"\n`;
  const site = await start(head + appTable("one", variables), ["one"]);
  expect((await ask(site, "/one/")).lengths).toEqual([125_000, 60_000]);
  await site.gateway.end();
});

test("a reload that is refused changes nothing that is started later", async () => {
  const site = await start(head + appTable("one", blue), ["one", "two"]);
  expect((await ask(site, "/one/")).color).toBe("blue");
  // Its file is good; what it asks for cannot be had.
  const refused = head.replace('"127.0.0.1:0"', '"127.0.0.1:0", "192.0.2.1:9"');
  await site.change(refused + appTable("one", red) + appTable("two", red), "not reloaded");
  touch(site, "one");
  expect((await ask(site, "/one/")).color).toBe("blue");
  const server = pidOf(site.gateway.poolServer);
  process.kill(server, "SIGKILL");
  await until("there is another", () => {
    const { poolServer } = site.gateway;
    return poolServer !== undefined && poolServer.pid !== server;
  });
  expect((await ask(site, "/one/")).color).toBe("blue");
  await site.gateway.end();
});

test("what a reload changes has processes started anew, also by the next pool server", async () => {
  const site = await start(head + appTable("one", blue), ["one"]);
  expect((await ask(site, "/one/")).color).toBe("blue");
  const slow = ask(site, "/one/slow"); // keeps the old worker for a while
  await site.change(head + appTable("one", red));
  await until("it is red", async () => (await ask(site, "/one/")).color === "red");
  await slow;
  await until("the old worker has left", () => site.gateway.workers.length === 1);
  const server = pidOf(site.gateway.poolServer);
  process.kill(server, "SIGKILL");
  await until("there is another", () => {
    const { poolServer } = site.gateway;
    return poolServer !== undefined && poolServer.pid !== server;
  });
  expect((await ask(site, "/one/")).color).toBe("red");
  await site.gateway.end();
});

test("processes of an application that a reload removed go at once, those of others stay", async () => {
  const both = appTable("one") + appTable("two");
  const site = await start(head + both, ["one", "two"]);
  const [one, two] = [await ask(site, "/one/"), await ask(site, "/two/")];
  await site.change(head + appTable("two"));
  await untilGone(one.pid);
  expect((await ask(site, "/two/")).pid).toBe(two.pid);
  await until("the old worker has left", () => site.gateway.workers.length === 1);
  const { applications } = await poolOf(site.gateway);
  expect(applications.map(({ root }) => root)).toEqual([join(site.directory, "two")]);
  await site.gateway.end();
});

test("variables that no program can be started with are refused with the file", () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "one"));
  const file = join(directory, "pool.toml");
  const texts = ["A", "B", "C"].map((name) => `${name} = "${name.repeat(125_000)}"\n`).join("");
  writeFileSync(file, appTable("one", `[apps.env]\n${texts}D = "${"x".repeat(131_070)}"\n`));
  const checked = Bun.spawnSync([binaryPath, "serve", "--check", "--config", file]);
  expect(checked.exitCode).toBe(2);
  const said = checked.stderr.toString();
  expect(said).toContain("apps[0].env.D: has more than 131072 bytes");
  expect(said).toContain("apps[0].env: has more than 262144 bytes in all");
});
