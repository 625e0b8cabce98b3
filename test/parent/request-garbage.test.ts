/** What of requests that are over is left for the garbage collector: the library, a real server. */
import { edenGC, fullGC, heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { type PoolConnection, startPoolServer } from "../../src/parent/index.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

const atOnce = 16;
const each = 30;
const rounds = 4;

async function ask(pool: PoolConnection, root: string): Promise<void> {
  const visitor = async (): Promise<void> => {
    for (let count = 0; count < each; count += 1) {
      const headers = [
        ["REQUEST_METHOD", "GET"],
        ["PATH_INFO", "/"],
      ] as const;
      const { body } = await pool.request({ root, appType: "bun" }, { headers });
      for await (const _ of body);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, visitor));
}

test("collections of young garbage leave little of requests that are over", async () => {
  const root = temporaryDirectory();
  writeFileSync(join(root, "server.ts"), `export default { fetch: () => new Response("hi") };`);
  await using server = startPoolServer();
  using pool = await server.connect();
  await ask(pool, root);
  fullGC();
  const before = heapStats().heapSize;
  for (let round = 0; round < rounds; round += 1) {
    await ask(pool, root);
    edenGC();
  }
  const bytes = heapStats().heapSize - before;
  // It was 2,300: the request, its session's stream, and what leads from them.
  expect(bytes / (rounds * atOnce * each)).toBeLessThan(600);
});
