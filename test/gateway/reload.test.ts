/**
 * SIGHUP: another configuration without a lost request; one that is wrong changes nothing. SIGUSR1:
 * the access log's file is opened anew.
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import {
  gateways,
  holdRequest,
  statusOf,
  writeApplication,
  type Gateway,
} from "../helpers/gateway.ts";
import { isRunning, stop } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

interface Site {
  readonly gateway: Gateway;
  readonly directory: string;
  /** Writes another file and sends SIGHUP. */
  readonly change: (text: string) => void;
}

const head = 'listen = ["127.0.0.1:0"]\n[log]\nlevel = 1\n';
const one = '[[apps]]\nroot = "one"\n';
const two = '[[apps]]\nroot = "two"\n';

function startSite(text: string): Site {
  const directory = temporaryDirectory();
  const file = join(directory, "pool.toml");
  for (const name of ["one", "two"]) writeApplication(directory, name);
  writeFileSync(file, text);
  const gateway = startGateway(["--config", file]);
  const change = (other: string): void => {
    writeFileSync(file, other);
    gateway.signal("SIGHUP");
  };
  return { gateway, directory, change };
}

async function ask(address: string, init: RequestInit = {}): Promise<string> {
  const answer = await fetch(address, init);
  if (answer.status !== 200) throw new Error(`status ${answer.status}: ${await answer.text()}`);
  return answer.text();
}

function count(gateway: Gateway, event: string): number {
  return gateway.log.split("\n").filter((line) => line.includes(event)).length;
}

test("a reload changes what is served on the same port; not one request is lost", async () => {
  const { gateway, change } = startSite(head + one);
  const address = await gateway.address();
  const asking = new AbortController();
  const answers = new Set<string>();
  let asked = 0;
  // Some on connections of their own, some on connections that are kept.
  const visitors = Array.from({ length: 8 }, async (_, index) => {
    while (!asking.signal.aborted) {
      const text = await ask(address, { keepalive: index % 2 === 0 });
      answers.add(text.split(" ")[0] ?? "");
      asked += 1;
    }
  });
  await until("one is served", () => answers.has("one"));
  for (const [text, round] of [
    [two, 1],
    [one, 2],
    [two, 3],
  ] as const) {
    answers.clear();
    change(head + text);
    await until("it is reloaded", () => count(gateway, "configuration reloaded") === round);
    await until("the other is served", () => answers.has(text === one ? "one" : "two"));
  }
  asking.abort();
  await Promise.all(visitors);
  expect(asked).toBeGreaterThan(50);
  expect(gateway.addresses).toHaveLength(1);
  await until("the old workers have left", () => gateway.workers.length === 1);
  await gateway.end();
});

test("workers that leave while others come take no application with them that comes with those", async () => {
  const top = `workers = 2\n${head}`;
  const { gateway, change } = startSite(top + one);
  const address = await gateway.address();
  const slow = await holdRequest(gateway, temporaryDirectory());
  const first = gateway.workers.map(({ pid }) => pid);
  change(top + two);
  await until("it is reloaded", () => count(gateway, "configuration reloaded") === 1);
  const before = new Set(gateway.workers.map(({ pid }) => pid));
  change(top + one);
  const newest = await until("one more comes", () =>
    gateway.workers.findLast(({ pid }) => !before.has(pid)),
  );
  await stop(newest.pid);
  await (await slow.letGo()).text();
  await until("the first have gone", () => first.every((pid) => !isRunning(pid)));
  const asked = (async () => {
    for (let i = 0; i < 20; i += 1) await ask(address, { keepalive: false });
  })();
  // Unless it took visitors before it could be stopped: they wait for it.
  await Promise.race([asked, Bun.sleep(1000)]);
  process.kill(newest.pid, "SIGCONT");
  await asked;
  await until("it is reloaded again", () => count(gateway, "configuration reloaded") === 2);
  expect(await ask(address, { keepalive: false })).toStartWith("one ");
  await gateway.end();
});

test("a wrong file: all its problems are logged, the old configuration stays", async () => {
  const { gateway, change } = startSite(head + one);
  const address = await gateway.address();
  const workers = gateway.workers.map(({ pid }) => pid);
  change(`workers = 0\nlitsen = []\n${two}`);
  await until("both problems are logged", () => {
    return count(gateway, "configuration not reloaded") === 2;
  });
  await gateway.logged("workers: is 0, not a whole number", "litsen: is not known");
  expect(await ask(address)).toStartWith("one ");
  expect(gateway.workers.map(({ pid }) => pid)).toEqual(workers);
  await gateway.end();
});

test("an address that cannot be had: the old configuration stays", async () => {
  const { gateway, change } = startSite(head + one);
  const address = await gateway.address();
  change(`listen = ["127.0.0.1:0", "${address.slice(7)}"]\n${two}`);
  await until("it is refused", () => count(gateway, "configuration not reloaded") === 1);
  await gateway.logged("EADDRINUSE");
  expect(await ask(address)).toStartWith("one ");
  await gateway.end();
});

test("addresses and the number of workers can change; what leaves is closed, what comes is named", async () => {
  const { gateway, directory, change } = startSite(head + one);
  const address = await gateway.address();
  const socket = join(directory, "s");
  change(`listen = ["unix:s"]\nworkers = 3\n[log]\nlevel = 1\n${one}`);
  await until("the new address is named", () => gateway.addresses.includes(`unix:${socket}`));
  expect(gateway.workers.length).toBeGreaterThanOrEqual(3);
  expect(await (await fetch("http://localhost/", { unix: socket })).text()).toStartWith("one ");
  await until("the old address is closed", () =>
    fetch(address, { keepalive: false }).then(
      () => false,
      () => true,
    ),
  );
  await gateway.end();
  expect(existsSync(socket)).toBe(false);
});

test("an address that is given up refuses at once, also while a request on it is finished", async () => {
  const { gateway, change } = startSite(head + one);
  const address = await gateway.address();
  const slow = await holdRequest(gateway, temporaryDirectory());
  change(head.replace("127.0.0.1", "127.0.0.2") + one);
  await until("it is reloaded", () => count(gateway, "configuration reloaded") === 1);
  await until("the address refuses", () =>
    fetch(address, { keepalive: false, signal: AbortSignal.timeout(200) }).then(
      () => false,
      (error: Error) => error.name !== "TimeoutError",
    ),
  );
  expect(gateway.workers).toHaveLength(2);
  expect((await slow.letGo()).status).toBe(200);
  await gateway.end();
});

test("fewer workers than sockets: every connection is still served", async () => {
  const { gateway, change } = startSite(`workers = 3\n${head}${one}`);
  const address = await gateway.address();
  change(`workers = 1\n${head}${one}`);
  await until("there is one worker", () => gateway.workers.length === 1);
  for (let i = 0; i < 30; i += 1) await ask(address, { keepalive: false });
  await gateway.end();
});

test("limits of the pool change with the file, in the pool server that runs", async () => {
  const { gateway, change } = startSite(head + one);
  await ask(await gateway.address());
  expect((await statusOf(gateway)).pool?.limits.max).toBe(20);
  const server = gateway.poolServer?.pid;
  change(`${head}${one}[pool]\nmax = 3\nmax_idle_time = "7s"\n`);
  await until("it is reloaded", () => count(gateway, "configuration reloaded") === 1);
  const { pool, poolServer } = await statusOf(gateway);
  expect(pool?.limits).toMatchObject({ max: 3, maxIdleMs: 7000 });
  expect(poolServer).toBe(server ?? 0);
  await gateway.end();
});

test("the access log goes to its file; after a rotation and SIGUSR1 to the new one", async () => {
  const { gateway, directory } = startSite(
    `${head}access = "json"\naccess_file = "access.log"\n${one}`,
  );
  const address = await gateway.address();
  const file = join(directory, "access.log");
  await ask(address);
  await until("it is logged", () => readFileSync(file, "utf8").includes("\n"));
  expect(statSync(file).mode & 0o777).toBe(0o640);
  const [line = ""] = readFileSync(file, "utf8").split("\n");
  const entry = JSON.parse(line) as Record<string, unknown>;
  expect(entry).toMatchObject({ method: "GET", target: "/", status: 200, app: "one" });
  renameSync(file, `${file}.1`);
  gateway.signal("SIGUSR1");
  await until("there is a new file", () => existsSync(file));
  await ask(address);
  await until("it is logged there", () => readFileSync(file, "utf8").includes("\n"));
  await gateway.end();
});
