/** `logs APP`: the last lines of an application, and those to come. */
import { afterEach, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { binaryPath } from "../helpers/binary-server.ts";
import { until } from "../helpers/condition.ts";
import { type Gateway, gatewayEnvironment, gateways, runCommand } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** An application that writes what the query says, so many times with numbers. */
const says = `export default { fetch(request) {
  const { searchParams } = new URL(request.url);
  const count = Number(searchParams.get("count") ?? 1);
  for (let n = 0; n < count; n += 1) console.log(searchParams.get("text") + " " + n);
  return new Response("said");
} };`;

interface Scene {
  readonly gateway: Gateway;
  readonly file: string;
  readonly say: (text: string, count?: number) => Promise<void>;
}

async function serving(log: string | undefined): Promise<Scene> {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "shop"));
  mkdirSync(join(directory, "site/public"), { recursive: true });
  writeFileSync(join(directory, "shop/server.js"), says);
  const config = join(directory, "pool.toml");
  writeFileSync(
    config,
    `listen = ["127.0.0.1:0"]\nlog = { access = "off" }\n` +
      `[[apps]]\nroot = "shop"\n${log === undefined ? "" : `log = "${log}"\n`}` +
      `[[apps]]\nroot = "site"\ntype = "static"\nprefix = "/site"\n`,
  );
  const gateway = startGateway(["--config", config]);
  const address = await gateway.address();
  const say = async (text: string, count = 1): Promise<void> => {
    const answer = await fetch(`${address}/?text=${text}&count=${count}`);
    expect(await answer.text()).toBe("said");
  };
  return { gateway, file: join(directory, log ?? ""), say };
}

async function logs(...args: string[]) {
  const { status, stdout, stderr } = await runCommand("logs", ...args);
  return { status, lines: stdout.split("\n").slice(0, -1), error: stderr };
}

const followers: Bun.Subprocess[] = [];
afterEach(() => {
  for (const follower of followers.splice(0)) follower.kill("SIGKILL");
});

/** `logs --follow`, whose lines so far are to be had. */
function following(...args: string[]) {
  const child = Bun.spawn([binaryPath, "logs", "shop", "--follow", ...args], {
    env: gatewayEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  followers.push(child);
  let text = "";
  void (async () => {
    for await (const chunk of child.stdout) text += Buffer.from(chunk).toString();
  })();
  return { child, texts: () => textsOf(text.split("\n").slice(0, -1)) };
}

/** What stands behind time, application and process. */
function textsOf(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(/^\S+Z \[\S+\/shop \d+\] /, ""));
}

for (const log of [undefined, "shop.log"]) {
  const where = log === undefined ? "without a file" : "with a file";

  test(`${where}: the last lines, as many as are asked for`, async () => {
    const { gateway, say } = await serving(log);
    await say("line", 30);
    const all = async () => (await logs("shop", "--lines", "100")).lines;
    await until("all of it is there", async () => (await all()).length === 30);
    expect(textsOf(await all())).toEqual(Array.from({ length: 30 }, (_, n) => `line ${n}`));
    expect((await all())[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z \[.*\/shop \d+\] line 0$/);
    expect(textsOf((await logs("shop")).lines)).toEqual((await texts(20)).slice(-20));
    expect(await texts(2)).toEqual(["line 28", "line 29"]);
    expect(await texts(0)).toEqual([]);
    await gateway.end();
  });

  test(`${where}: what comes is followed, each line once`, async () => {
    const { gateway, say } = await serving(log);
    await say("before");
    await until("it is there", async () => (await texts(9)).length === 1);
    const { texts: seen, child } = following();
    await until("what was there is shown", () => seen().length === 1);
    for (let n = 0; n < 3; n += 1) {
      await say(`round${n}`, 100);
      await until("it is shown", () => seen().length === 1 + (n + 1) * 100);
    }
    const wanted = [0, 1, 2].flatMap((round) =>
      Array.from({ length: 100 }, (_, n) => `round${round} ${n}`),
    );
    expect(seen()).toEqual(["before 0", ...wanted]);
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    await gateway.end();
  });
}

async function texts(count: number): Promise<string[]> {
  return textsOf((await logs("shop", "--lines", String(count))).lines);
}

test("a file is followed across its rotation and its truncation; a terminal obeys nothing in it", async () => {
  const { gateway, say, file } = await serving("shop.log");
  await say("before");
  const { texts: seen } = following();
  await until("what was there is shown", () => seen().length === 1);
  for (let n = 0; n < 3; n += 1) {
    await say(`file${n}`, 50);
    await until("it is shown", () => seen().includes(`file${n} 49`));
    await say(`late${n}`);
    renameSync(file, `${file}.${n}`);
    gateway.signal("SIGUSR1");
  }
  await say("last");
  await until("it is shown", () => seen().includes("last 0"));
  const all = [0, 1, 2].flatMap((round) => [
    ...Array.from({ length: 50 }, (_, n) => `file${round} ${n}`),
    `late${round} 0`,
  ]);
  expect(seen()).toEqual(["before 0", ...all, "last 0"]);
  truncateSync(file);
  appendFileSync(file, "by somebody\x1b[2J\r\n");
  await until("it is shown", () => seen().includes("by somebody\\x1b[2J"));
  await gateway.end();
});

test("a reader that comes late learns that lines are missing, and gets the last", async () => {
  const { gateway, say } = await serving(undefined);
  await say("x".repeat(1000), 200);
  await until("the last is there", async () => (await texts(1))[0]?.endsWith(" 199") === true);
  const kept = await texts(1000);
  expect(kept.length).toBeWithin(40, 70);
  expect(kept.at(-1)).toEndWith(" 199");
  await gateway.end();
});

test("what is wrong is said, with the status of the other commands", async () => {
  expect(await logs("shop")).toMatchObject({ status: 1 });
  const { gateway } = await serving(undefined);
  const silent = "(nothing has been written yet)\n";
  expect(await logs("shop")).toEqual({ status: 0, lines: [], error: silent });
  expect(await logs()).toMatchObject({ status: 2 });
  expect(await logs("shop", "--lines", "many")).toMatchObject({ status: 2 });
  const unknown = await logs("nobody");
  expect(unknown.status).toBe(1);
  expect(unknown.error).toContain("there is no application 'nobody'; there are shop, site");
  const site = await logs("site");
  expect(site.status).toBe(1);
  expect(site.error).toContain("'site' has no processes");
  await gateway.end();
  const filed = await serving("shop.log");
  expect(await logs("shop")).toEqual({ status: 0, lines: [], error: silent });
  expect(await logs("shop", "--lines", "0")).toEqual({ status: 0, lines: [], error: "" });
  await filed.gateway.end();
});
