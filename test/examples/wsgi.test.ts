/** The WSGI example does what it says, under the pool. */
import { beforeAll, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";

import type { Instance } from "../../src/spawn/spawner.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { spawnerScene } from "../spawn/spawner-scene.ts";
import { connected, exchange, get, parseAnswer, post } from "../spawn/support.ts";
import { wsgiRequest } from "../spawn/wsgi-programs.ts";

const { directory, spawner } = spawnerScene();
let instance: Instance;

beforeAll(async () => {
  const root = join(directory, "wsgi");
  cpSync(join(import.meta.dir, "../../examples/wsgi"), root, { recursive: true });
  instance = await spawner.spawn(wsgiRequest(root, { spawnMethod: "smart" }));
});

async function ask(bytes: Uint8Array) {
  return parseAnswer(await exchange(instance, bytes));
}

test("says who answered, and counts", async () => {
  const { body } = await ask(get({ PATH_INFO: "/" }));
  expect(body).toContain(`Hello from process ${instance.pid}, forked from`);
  expect(body).toContain("in production. This is its request number 1;");
  expect((await ask(get({ PATH_INFO: "/" }))).body).toContain("request number 2;");
  expect((await ask(get({ PATH_INFO: "/no" }))).status).toBe("Status: 404 Not Found");
});

test("streams as time goes by", async () => {
  using session = connected(instance);
  await sendAll(session.number, get({ PATH_INFO: "/ticks" }));
  const first = "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\ntick 1\n";
  expect(await readExactly(session.number, first.length)).toBe(first);
  expect(await readToEnd(session.number)).toEndWith("tick 10\n");
});

test("takes an upload", async () => {
  const { body } = await ask(post("x".repeat(100_000), { PATH_INFO: "/upload" }));
  const digest = new Bun.CryptoHasher("sha256").update("x".repeat(100_000)).digest("hex");
  expect(body).toBe(`100000 bytes, sha256 ${digest}\n`);
});
