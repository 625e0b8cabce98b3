/** Whose processes a spawner ends: those that its applications have started, and nobody else's. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { isRunning } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { exchange, get, notebook, spawnRequest, writeApp } from "./support.ts";

const temporaryDirectory = temporaryDirectories();
countDescriptors();

test("a child of who has the spawner in his process is not its to end", async () => {
  await using child = Bun.spawn(["sleep", "60"], { stdio: ["ignore", "ignore", "ignore"] });
  const base = temporaryDirectory();
  const spawner = new BuiltinSpawner({
    notify: notebook().notify,
    writeOutput: () => {},
    baseDirectory: base,
  });
  const files = { "server.ts": "export default { fetch: () => new Response('x') };" };
  const instance = await spawner.spawn(
    spawnRequest(writeApp(base, "app", files), { appType: "bun" }),
  );
  expect(await exchange(instance, get())).toStartWith("Status: 200");
  await spawner.close(new AbortController().signal);
  expect(isRunning(child.pid)).toBe(true);
});

test("what an instance has left is ended with the last of its user, and nobody else's with it", async () => {
  const script = join(import.meta.dir, "orphans-of-one-user.ts");
  await using child = Bun.spawn([process.execPath, script], { stdout: "pipe" });
  const [isLeftAlone, ...left] = (await new Response(child.stdout).json()) as boolean[];
  expect(isLeftAlone).toBe(true);
  expect(left).toEqual([false, false]);
});
