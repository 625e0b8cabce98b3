/** The Node example does what it says, under the pool. */
import { beforeAll, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";

import type { Instance } from "../../src/spawn/spawner.ts";
import { spawnerScene } from "../spawn/spawner-scene.ts";
import { exchange, get, parseAnswer, post, spawnRequest } from "../spawn/support.ts";

const { directory, spawner } = spawnerScene();
let instance: Instance;

beforeAll(async () => {
  const root = join(directory, "node");
  cpSync(join(import.meta.dir, "../../examples/node"), root, { recursive: true });
  instance = await spawner.spawn(spawnRequest(root, { appType: "auto" }));
});

async function ask(bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

test("the Node example says who answers, and counts", async () => {
  const { body } = await ask(get({ REQUEST_URI: "/below/<a>/" }));
  expect(body).toContain(`process ${instance.pid}`);
  expect(body).toContain("in production. This is its request number 1;");
  expect(body).toContain("you asked for /below/&#60;a&#62;/");
  expect((await ask(get())).body).toContain("request number 2;");
  expect((await ask(get({ REQUEST_URI: "/gone" }))).status).toBe("Status: 404 Not Found");
});

test("the Node example streams", async () => {
  const { body } = await ask(get({ REQUEST_URI: "/node/ticks" }));
  expect(body.split("\n").filter((line) => line.startsWith("tick "))).toHaveLength(10);
});

test("the Node example takes uploads", async () => {
  const { body } = await ask(post("x".repeat(1_000_000), { REQUEST_URI: "/upload" }));
  const sum = new Bun.CryptoHasher("sha256").update("x".repeat(1_000_000)).digest("hex");
  expect(body).toBe(`1000000 bytes, SHA-256 ${sum}\n`);
});
