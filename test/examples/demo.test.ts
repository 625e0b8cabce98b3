/**
 * The demonstration that `scripts/demo` shows: it checks its own claims, and this checks that it
 * did.
 */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";

const demo = join(import.meta.dir, "../../scripts/demo.ts");

/** Directories of demonstrations, running or left behind. */
function demoDirectories(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith("pool-demo-"));
}

test("the demonstration holds what it says, to its end, and leaves nothing behind", async () => {
  const before = demoDirectories();
  const child = Bun.spawn([process.execPath, demo], { stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(errors).toBe("");
  expect(await child.exited).toBe(0);
  const titles = output.split("\n").filter((line) => /^\d\. /.test(line));
  expect(titles.map((line) => line[0]).join("")).toBe("12345678");
  expect(output).toContain("Hello from version two!");
  expect(output).toMatch(/of the \d+ application processes there were, none is left/);
  expect(demoDirectories()).toEqual(before);
});

test("interrupted, the demonstration leaves no directory behind either", async () => {
  const before = demoDirectories();
  const child = Bun.spawn([process.execPath, demo], { stdio: ["ignore", "ignore", "ignore"] });
  await until("it has begun", () => demoDirectories().length > before.length);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(demoDirectories()).toEqual(before);
});
