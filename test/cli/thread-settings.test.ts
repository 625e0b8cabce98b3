/** How many requests a process serves at once, as a configuration says it: `threads`. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readServeArguments } from "../../src/cli/serve-options.ts";
import { ConfigurationError } from "../../src/cli/usage-error.ts";

const directory = mkdtempSync(join(tmpdir(), "pool-"));
const file = join(directory, "pool.toml");
for (const name of ["one", "two", "three"]) mkdirSync(join(directory, name));
afterAll(() => rmSync(directory, { recursive: true }));

function read(settings: string, options: readonly string[] = []) {
  writeFileSync(file, settings);
  return readServeArguments(["--config", file, ...options]).readConfig();
}

const app = (name: string, settings: string) =>
  `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\n${settings}\n`;

test("what holds for all applications is for those that do not say otherwise", () => {
  const settings = [
    "threads = 5",
    app("one", 'type = "wsgi"'),
    app("two", "threads = 2"),
    app("three", "concurrency = 7"),
  ].join("\n");
  const atOnce = (given: readonly string[]) =>
    read(settings, given).apps.map(({ options: { threads, concurrency } }) => [
      threads,
      concurrency,
    ]);
  expect(atOnce([])).toEqual([
    [5, undefined],
    [2, undefined],
    [undefined, 7],
  ]);
  expect(atOnce(["--threads", "9"])[0]).toEqual([9, undefined]);
});

test.each([
  [
    "concurrency = 2",
    "rack",
    "concurrency: is for kinds without threads; for rack it is 'threads'",
  ],
  ["threads = 2", "node", "threads: is for rack and wsgi; for node it is 'concurrency'"],
  ["threads = 2\nconcurrency = 2", "auto", "threads: is given beside 'concurrency': leave one out"],
  ["threads = 1001", "wsgi", "threads: is 1001, not a whole number from 0 to 1000"],
])("refuses `%s` of type %s", (settings, type, why) => {
  const refused = () => read(app("one", `type = "${type}"\n${settings}`));
  expect(refused).toThrow(new ConfigurationError([`${file}: apps[0].${why}`]));
});
