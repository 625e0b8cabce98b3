/**
 * The demonstration that `scripts/demo` shows: it checks its own claims, and this checks that it
 * did.
 */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const demo = join(import.meta.dir, "../../scripts/demo.ts");
const temporaryDirectory = temporaryDirectories();

function startDemo(place: string): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  const env = { ...process.env, TMPDIR: place };
  return Bun.spawn([process.execPath, demo], { env, stdio: ["ignore", "pipe", "pipe"] });
}

test("the demonstration holds what it says, to its end, and leaves nothing behind", async () => {
  const place = temporaryDirectory();
  const child = startDemo(place);
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  // It kills a process, of which the server's log says more or less, as it is asked for it or not.
  const killed = /^Process (\d+) was killed/m.exec(output)?.[1] ?? "none";
  const lines = errors.split("\n").filter((line) => line !== "");
  const other = lines.filter((line) => !line.includes(` pid=${killed} `));
  expect(other.filter((line) => !line.includes(" notice application started "))).toEqual([]);
  expect(errors).toContain('end="was ended by SIGKILL"');
  expect(await child.exited).toBe(0);
  const titles = output.split("\n").filter((line) => /^\d\. /.test(line));
  expect(titles.map((line) => line[0]).join("")).toBe("12345678");
  expect(output).toContain("Hello from version two!");
  expect(output).toMatch(/of the \d+ application processes there were, none is left/);
  expect(readdirSync(place)).toEqual([]);
});

test("interrupted at any moment, the demonstration leaves no directory behind either", async () => {
  const place = temporaryDirectory();
  const child = startDemo(place);
  await until("it has begun", () => readdirSync(place).length > 0);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(readdirSync(place)).toEqual([]);
  for (let delayMs = 0; delayMs < 100; delayMs += 10) {
    const early = startDemo(place);
    await Bun.sleep(delayMs);
    early.kill("SIGINT");
    // Before its first lines a signal has its default effect, and nothing has been made.
    expect([130, "SIGINT"]).toContain(
      await early.exited.then((status) => early.signalCode ?? status),
    );
    expect([delayMs, readdirSync(place)]).toEqual([delayMs, []]);
  }
});
