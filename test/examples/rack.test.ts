/** The rack example does what it says. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import { ask, rackScene, to } from "../spawn/rack-scene.ts";
import { post, spawnRequest } from "../spawn/support.ts";

const { spawner } = rackScene();
const root = join(import.meta.dir, "../../examples/rack");

test("the rack example says who answers, streams, and measures an upload", async () => {
  const instance = await spawner.spawn(spawnRequest(root));
  const { pid } = instance;
  for (const number of [1, 2]) {
    const { body } = await ask(instance, to("/"));
    expect(body).toMatch(
      new RegExp(`^Process ${pid}, loaded by process \\d+, .* in production, .* ${number}\\.\n$`),
    );
  }
  const upload = "x".repeat(500_000);
  const digest = new Bun.CryptoHasher("sha256").update(upload).digest("hex");
  const { body } = await ask(instance, post(upload, { REQUEST_URI: "/upload" }));
  expect(body).toBe(`500000 bytes, SHA-256 ${digest}\n`);
  const lines = (await ask(instance, to("/slowly"))).body.trim().split("\n");
  expect(lines).toHaveLength(10);
  expect(lines.at(-1)).toBe(`line 10 from process ${pid}`);
  expect((await ask(instance, to("/elsewhere"))).status).toBe("Status: 404 Not Found");
  instance.release();
});
