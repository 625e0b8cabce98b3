/**
 * What `scripts/start` runs: every example whose runtime is there is served below its name, and
 * Ctrl-C leaves nothing behind.
 */
import { expect, test } from "bun:test";
import { randomUUID } from "node:crypto";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { markedProcesses, markVariable } from "../helpers/processes.ts";

const script = join(import.meta.dir, "../../scripts/start.ts");

test("the examples are served, and one signal ends it all", async () => {
  const mark = randomUUID();
  const child = Bun.spawn([process.execPath, script, "--listen", "127.0.0.1:0"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, [markVariable]: mark },
  });
  let output = "";
  const reading = (async () => {
    for await (const chunk of child.stdout) output += Buffer.from(chunk).toString();
  })();
  await until(
    "it says what to try",
    () => output.includes("Ctrl-C here ends it all"),
    () => output,
  );
  const urls = [...output.matchAll(/^ {2}(http:\S+) /gm)].map(([, url = ""]) => url);
  expect(urls.map((url) => new URL(url).pathname)).toContain("/hello/");
  for (const url of urls) {
    const answer = await fetch(url, { keepalive: false });
    expect({ url, status: answer.status }).toEqual({ url, status: 200 });
    await answer.bytes();
  }
  const [, directory = ""] = /^ {2}touch (\/\S+)\/hello\/tmp\/restart\.txt$/m.exec(output) ?? [];
  child.kill("SIGINT");
  expect(await child.exited).toBe(0);
  await reading;
  await until("no process is left", () => markedProcesses(mark).length === 0);
  expect(readdirSync(tmpdir()).map((name) => join(tmpdir(), name))).not.toContain(directory);
});
