/** The commands that change a gateway while it runs: what they do, say, and exit with. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { controlCommandNames } from "../../src/cli/arguments.ts";
import { runtimeDirectories } from "../../src/gateway/supervisor/runtime-directory.ts";
import { until } from "../helpers/condition.ts";
import {
  type Gateway,
  gatewayEnvironment,
  gateways,
  runCommand,
  statusOf,
} from "../helpers/gateway.ts";
import { pidOf } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** @returns exit status, and what it said: on stdout if that is 0, else on stderr. */
async function command(...args: string[]): Promise<[status: number | null, said: string]> {
  const { status, stdout, stderr } = await runCommand(...args);
  return [status, (status === 0 ? stdout : stderr).trim()];
}

const says = (text: string): string =>
  `export default { fetch: () => new Response("${text} " + process.pid) };\n`;

interface Served {
  readonly gateway: Gateway;
  readonly address: string;
  readonly root: string;
  readonly file: string;
  readonly ask: () => Promise<string>;
}

async function serving(top = "", ofApp = ""): Promise<Served> {
  const directory = temporaryDirectory();
  const root = join(directory, "shop");
  mkdirSync(root);
  writeFileSync(join(root, "server.ts"), says("one"));
  const file = join(directory, "pool.toml");
  writeFileSync(file, `${top}\nlisten = ["127.0.0.1:0"]\n[[apps]]\nroot = "shop"\n${ofApp}`);
  const gateway = startGateway(["--config", file]);
  const address = await gateway.address();
  const ask = async (): Promise<string> => (await fetch(address)).text();
  return { gateway, address, root, file, ask };
}

/** Restarts it with a version that does not start: the command says what came of it, and why. */
async function restartBroken({ root }: Served, what: string): Promise<void> {
  writeFileSync(join(root, "server.ts"), 'throw new Error("it is broken");\n');
  const [code, said] = await command("restart", "shop");
  expect(code).toBe(1);
  expect(said).toContain(`'shop' ${what}: `);
  expect(said).toContain("it is broken");
}

/** Restarts it with a new version that starts. */
async function restartAs(text: string, { root, ask }: Served): Promise<void> {
  writeFileSync(join(root, "server.ts"), says(text));
  expect(await command("restart", "shop")).toEqual([0, "shop: restarted"]);
  expect(await ask()).toStartWith(`${text} `);
}

test("restart: waits for the new version, and tells why a broken one is not used", async () => {
  const shop = await serving();
  const { gateway, ask } = shop;
  expect(await ask()).toStartWith("one ");
  await restartAs("two", shop);
  await restartBroken(shop, "was not restarted, its old processes serve on");
  expect(await ask()).toStartWith("two ");
  expect((await command("restart", "shpo"))[1]).toEndWith(
    "there is no application 'shpo'; there are shop",
  );
  await gateway.end();
});

test("restart: where nothing runs, says that nothing was tried, and what is", async () => {
  const { gateway, root, ask } = await serving("", 'restart_mode = "at-once"\n');
  writeFileSync(join(root, "server.ts"), 'throw new Error("it is broken");\n');
  const none =
    "shop: none of its processes runs, so none of the new version was tried; the next request " +
    "starts one";
  expect(await command("restart", "shop")).toEqual([0, none]);
  writeFileSync(join(root, "server.ts"), says("two"));
  expect(await ask()).toStartWith("two ");
  // All have left, and nobody has asked since.
  expect(await command("restart", "shop")).toEqual([0, none]);
  await gateway.end();
});

test("restart and pause: an application of files alone has nothing that could", async () => {
  const site = '[[apps]]\nroot = "site"\nprefix = "/site"\ntype = "static"\n';
  const { gateway } = await serving("", site);
  for (const name of ["restart", "pause"]) {
    const [code, said] = await command(name, "site");
    expect([name, code]).toEqual([name, 1]);
    expect(said).toEndWith("'site' has no processes: it is of type static");
  }
  await gateway.end();
});

test("restart: at once, waits for those that are to be there, and tells why none is", async () => {
  const shop = await serving("", 'restart_mode = "at-once"\nmin_instances = 1\n');
  expect(await shop.ask()).toStartWith("one ");
  await restartBroken(shop, "was restarted, and cannot be started");
  await restartAs("two", shop);
  await shop.gateway.end();
});

/** Has a configuration with other environment: `shop` is to be made anew. */
function changeEnvironment({ file }: Served, version: string): void {
  const text = readFileSync(file, "utf8").split("[apps.env]")[0] ?? "";
  writeFileSync(file, `${text}[apps.env]\nV = "${version}"\n`);
}

test("reload: waits for what it restarts, and tells what did not come to its new version", async () => {
  const shop = await serving();
  const { gateway, ask, root } = shop;
  // With no process there is nothing to wait for.
  changeEnvironment(shop, "0");
  expect(await command("reload")).toEqual([0, "reloaded"]);
  expect(await ask()).toStartWith("one ");
  writeFileSync(join(root, "server.ts"), 'throw new Error("it is broken");\n');
  changeEnvironment(shop, "1");
  const [code, said] = await command("reload");
  const why = "reloaded, but 'shop' was not restarted, its old processes serve on: error: it is";
  expect([code, said.includes(why)], said).toEqual([1, true]);
  expect(await ask()).toStartWith("one ");
  // Another one does not try it again, and does not pass over it either.
  const [again, words] = await command("reload");
  expect([again, words.includes("old processes serve on of shop, ")], words).toEqual([0, true]);
  writeFileSync(join(root, "server.ts"), says("two"));
  changeEnvironment(shop, "2");
  expect(await command("reload")).toEqual([0, "reloaded"]);
  expect(await ask()).toStartWith("two ");
  await gateway.end();
});

test("reload: at once, and of what is to be there ahead, tells what cannot be started", async () => {
  const shop = await serving("", 'restart_mode = "at-once"\nmin_instances = 1\n');
  expect(await shop.ask()).toStartWith("one ");
  writeFileSync(join(shop.root, "server.ts"), 'throw new Error("it is broken");\n');
  changeEnvironment(shop, "1");
  const [code, said] = await command("reload");
  const why = "reloaded, but 'shop' was restarted, and cannot be started: error: it is";
  expect([code, said.includes(why)], said).toEqual([1, true]);
  await shop.gateway.end();
});

test("reload: waits for a restart as long as it is told to, and says that it goes on", async () => {
  const shop = await serving();
  const { gateway, ask, root } = shop;
  expect(await ask()).toStartWith("one ");
  const go = join(root, "go");
  const waits = `while (!require("fs").existsSync("${go}")) await Bun.sleep(5);\n`;
  writeFileSync(join(root, "server.ts"), `${waits}${says("two")}`);
  changeEnvironment(shop, "1");
  const words = "reloaded; still being restarted: shop";
  expect(await command("reload", "--wait", "0s")).toEqual([0, words]);
  // One that begins meanwhile has changed nothing itself.
  expect(await command("reload")).toEqual([0, "reloaded"]);
  changeEnvironment(shop, "2");
  const reload = command("reload");
  writeFileSync(go, "");
  expect(await reload).toEqual([0, "reloaded"]);
  expect(await ask()).toStartWith("two ");
  await gateway.end();
});

test("pause holds requests back, or has them refused, until resume; also in new workers", async () => {
  const { gateway, address, ask } = await serving();
  await ask();
  expect(await command("pause", "shop")).toEqual([0, "shop: paused"]);
  const held = ask();
  expect((await statusOf(gateway)).applications[0]?.pause).toBe("wait");
  expect(await Promise.race([held, Bun.sleep(300)])).toBe(undefined);
  expect(await command("resume", "shop")).toEqual([0, "shop: resumed"]);
  expect(await held).toStartWith("one ");

  expect(await command("pause", "shop", "--refuse")).toEqual([0, "shop: paused"]);
  const refused = await fetch(address, { headers: { accept: "text/html" } });
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "30"]);
  expect(await refused.text()).toContain("The site is being worked on, and will be back soon.");
  const [worker] = gateway.workers;
  process.kill(pidOf(worker), "SIGKILL");
  await until("another worker serves", async () => {
    const answer = await fetch(address).catch(() => undefined);
    return answer?.status === 503 && gateway.workers[0]?.pid !== worker?.pid;
  });
  expect((await command("resume", "shop"))[0]).toBe(0);
  expect(await ask()).toStartWith("one ");
  await gateway.end();
});

test("detach: a process ends after its requests, and another takes its place", async () => {
  const { gateway, ask } = await serving();
  const pid = (await ask()).split(" ")[1] ?? "";
  expect(await command("detach", pid)).toEqual([0, `${pid}: detached`]);
  expect(await ask()).not.toContain(pid);
  const [code, said] = await command("detach", "1");
  expect([code, said.split(": ").slice(1).join(": ")]).toEqual([
    1,
    "no instance has the process 1",
  ]);
  await gateway.end();
});

test("set changes the pool's limits until the next reload; reload tells what is wrong", async () => {
  const { gateway, file, ask } = await serving('name = "one"');
  await ask();
  const limits = async () => (await statusOf(gateway)).pool?.limits;
  expect(await command("set", "max", "3")).toEqual([0, "max = 3"]);
  expect(await command("set", "max_idle_time", "1h")).toEqual([0, "max_idle_time = 1h"]);
  expect(await limits()).toMatchObject({ max: 3, maxIdleMs: 3_600_000 });
  expect(await command("set", "max_idle_time", "off")).toEqual([0, "max_idle_time = off"]);
  expect(await limits()).toMatchObject({ maxIdleMs: (2 ** 31 - 1) * 1000 });
  expect((await command("set", "max_idle_time", "0s"))[0]).toBe(0);
  expect(await limits()).toMatchObject({ maxIdleMs: 0 });
  // It is told in whole seconds, and none of them would have every process go at once.
  expect((await command("set", "max_idle_time", "400ms"))[0]).toBe(0);
  expect(await limits()).toMatchObject({ maxIdleMs: 1000 });
  expect(await command("reload")).toEqual([0, "reloaded"]);
  expect(await limits()).toMatchObject({ max: 20, maxIdleMs: 120_000 });
  writeFileSync(file, 'listen = ["127.0.0.1:0"]\n[[apps]]\nroot = "shop"\nworker = 3\n');
  const [code, said] = await command("reload", "--name", "one");
  expect([code, said.includes("apps[0].worker: is not known")]).toEqual([1, true]);
  expect(await ask()).toStartWith("one ");
  await gateway.end();
});

test("stop ends it and waits; several gateways go by name or process", async () => {
  const [one, two] = [await serving('name = "one"'), await serving('name = "two"')];
  const [code, said] = await command("stop");
  expect(code).toBe(2);
  for (const { gateway } of [one, two]) expect(said).toContain(String(gateway.pid));
  expect((await command("restart", "shop", "--name", "three"))[1]).toContain("no gateway three");
  expect(await command("stop", "--name", "two")).toEqual([0, "stopped"]);
  expect(await command("stop")).toEqual([0, "stopped"]);
  expect((await command("reload"))[0]).toBe(1);
});

/** What the socket itself answers: other programs than our commands may ask. */
async function askSocket({ pid }: Gateway, line: string): Promise<unknown> {
  const [directory] = runtimeDirectories(gatewayEnvironment());
  const answer = Promise.withResolvers<string>();
  let text = "";
  await Bun.connect({
    unix: join(directory, `${pid}.sock`),
    socket: {
      open: (socket) => {
        socket.write(`${line}\n`);
        socket.shutdown(); // as nc(1) does at the end of its input
      },
      data: (_, chunk) => void (text += chunk.toString()),
      close: () => answer.resolve(text),
    },
  });
  return JSON.parse(await answer.promise) as unknown;
}

const refusals: readonly (readonly [string, string])[] = [
  ['"change":{"max":100001}', "set: max cannot be 100001"],
  ['"change":{"max":0}', "set: max cannot be 0"],
  ['"change":{"max":"3"}', 'set: max cannot be "3"'],
  ['"change":{"max":3,"maxPerApp":-1}', "set: maxPerApp cannot be -1"],
  ['"change":{"maxIdleSeconds":2147483648}', "set: maxIdleSeconds cannot be 2147483648"],
  ['"change":{"globalQueue":1}', "set: globalQueue cannot be 1"],
  ['"change":{"maximum":3}', "set: 'maximum' cannot be set"],
  ['"change":{}', "set: there is nothing to change"],
  ['"pid":1', "set: there is nothing to change"],
];

test("the socket takes no limit that the pool server would not, and serves on", async () => {
  const { gateway, ask } = await serving();
  for (const [change, error] of refusals) {
    expect(await askSocket(gateway, `{"command":"set",${change}}`)).toEqual({ error });
  }
  expect(await askSocket(gateway, '{"command":"set","change":{"max":100000}}')).toEqual({});
  expect((await statusOf(gateway)).pool?.limits).toMatchObject({ max: 100_000, maxPerApp: 0 });
  expect(await ask()).toStartWith("one ");
  await gateway.end();
});

test("an application that comes back after it was taken out is not paused any more", async () => {
  const { gateway, file, ask } = await serving();
  const text = readFileSync(file, "utf8");
  expect((await command("pause", "shop"))[0]).toBe(0);
  for (const name of ['name = "other"\n', ""]) {
    writeFileSync(file, text + name);
    expect(await command("reload")).toEqual([0, "reloaded"]);
  }
  expect((await statusOf(gateway)).applications).toMatchObject([{ name: "shop", pause: null }]);
  expect(await ask()).toStartWith("one ");
  await gateway.end();
});

const mistakes: readonly (readonly [string[], string])[] = [
  [["restart"], "restart: APP is missing"],
  [["detach", "x"], "'x' is no process number"],
  [["detach", "-1"], "'-1' is no process number"],
  [["stop", "--pid", "abc"], "--pid: 'abc' is no process number"],
  [["status", "--pid", "0"], "--pid: '0' is no process number"],
  [["logs", "a", "--pid=1e3"], "--pid: '1e3' is no process number"],
  [["status", "--name", ""], "option '--name' needs a value"],
  [["status", "--app", "a", "--json"], "--json has all applications: leave --app out"],
  [["restart", ""], "an argument is empty: is a variable not set?"],
  [["serve", ""], "an argument is empty: is a variable not set?"],
  [["statsu"], "; is 'status' meant?"],
  [["set", "max_per_app", "-1"], 'max_per_app is "-1", not a whole number from 0 to 100000'],
  [["set", "max_idle_time", "-5s"], 'max_idle_time is "-5s", not a time such as "10s"'],
  [["restart", "a", "-5s"], "unexpected argument '-5s'"],
  [["set", "max", "0"], "max is 0, not a whole number from 1 to 100000"],
  [["set", "maxx", "1"], "'maxx' cannot be set; max, max_per_app, max_idle_time, global_queue can"],
  [["pause", "a", "b"], "unexpected argument 'b'"],
  [["restart", "a", "--refuse"], "unknown option '--refuse'"],
  [["reload", "--wait", "5"], "--wait is '5', not a time such as 30s or 0s, up to 1h"],
];

test.each(mistakes)("%j is a mistake", async (args, why) => {
  const [code, said] = await command(...args);
  expect([code, said.includes(why)], said).toEqual([2, true]);
});

test.each(controlCommandNames)("%s --help shows how it is called", async (name) => {
  const [code, said] = await command(name, "--help");
  expect([code, said.includes(`ApplicationPoolServerExecutable ${name}`)]).toEqual([0, true]);
  expect(said).not.toMatch(/ {2}\(Required\)/); // Each word says what it is.
});
