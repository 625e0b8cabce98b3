/** Rack applications that do not start: what their developers are told. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ascii } from "../../src/wire/bytes.ts";
import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import type { SpawnFailedError, SpawnRequest } from "../../src/spawn/spawner.ts";
import { failureOf, notebook, pageOf, spawnRequest, writeApp } from "./support.ts";

const directory = mkdtempSync(join(tmpdir(), "pool-"));
const spawner = newSpawner();
let apps = 0;

function newSpawner(more: { ruby?: ReturnType<typeof ascii> } = {}): BuiltinSpawner {
  const { notify } = notebook();
  return new BuiltinSpawner({ notify, writeOutput: () => {}, baseDirectory: directory, ...more });
}

afterAll(async () => {
  await spawner.close(new AbortController().signal);
  rmSync(directory, { recursive: true });
});

function app(files: Readonly<Record<string, string>>): string {
  apps += 1;
  return writeApp(directory, `app${apps}`, files);
}

function failing(
  files: Readonly<Record<string, string>>,
  more: Partial<SpawnRequest> = {},
): Promise<SpawnFailedError> {
  return failureOf(spawner.spawn(spawnRequest(app(files), more)));
}

const both = [["conservative"], ["smart"]] as const;

test.each(both)("shows what is raised, where, and what caused it (%s)", async (spawnMethod) => {
  const source = `def configure
  Integer("x")
rescue ArgumentError
  raise KeyError, "no <setting>"
end
configure
`;
  const error = await failing({ "config.ru": source }, { spawnMethod });
  expect(error.message).toBe("KeyError: no <setting>");
  const page = pageOf(error);
  expect(page).toContain("KeyError: no &lt;setting&gt;");
  expect(page).toMatch(/app\d+\/config.ru:4:in/);
  expect(page).toMatch(/app\d+\/config.ru:6:in/);
  expect(page).toContain("Caused by ArgumentError: invalid value for Integer()");
  expect(page).not.toMatch(/\/rack\/\w+.rb:\d+:in .load&#x27;/);
  expect(page).not.toContain("/rack/loader.rb:");
});

test.each([
  ["a syntax error", "run lambda { |env|\n[200, {}, ['x']\n}\n", /^SyntaxError: .*config.ru:3: /],
  ["a missing library", "require 'no/such'", /^LoadError: cannot load such file -- no\/such$/],
  ["a misspelt constant", "run Strin", /^NameError: uninitialized constant .*Strin/],
  ["an exit", "exit 3", /^The application called exit with status 3 while it was loaded$/],
  ["an abort", "abort 'no luck'", /^The application called exit with status 1 .*: no luck$/],
  ["a throw", "throw :nobody", /^UncaughtThrowError: uncaught throw :nobody$/],
  ["no application", "use Rack::Lint", /^RuntimeError: missing run or map statement/],
  ["one that cannot be called", "run 42", /42|Integer, which has no method/],
  ["an endless recursion", "def f; f; end; f", /^SystemStackError: stack level too deep$/],
  ["a text of no encoding", 'raise "\\xff\\0".b', /^RuntimeError: \?/],
  ["a silent end", "exit!(9)", /^it exited with status 9 before it was ready$/],
  ["a death by signal", "Process.kill(:KILL, $$); sleep", /SIGKILL/],
])("says what is wrong with %s", async (_, source, message) => {
  const error = await failing({ "config.ru": source }, { spawnMethod: "conservative" });
  expect(error.message).toMatch(message);
  expect(pageOf(error)).toContain("config.ru (rack)");
});

test("shows what it wrote before, and no value of the environment", async () => {
  const source = "puts 'connecting'; warn 'to <db>'; raise 'x'";
  const error = await failing({ "config.ru": source }, { env: { PASSWORD: "sesame" } });
  expect(pageOf(error)).toContain("connecting\nto &lt;db&gt;\n");
  expect(pageOf(error)).not.toContain("sesame");
});

test("says that a gem of the bundle is missing, and which", async () => {
  const files = {
    Gemfile: "source 'https://gems.invalid'\ngem 'no-such-gem-at-all'\n",
    "config.ru": "run nil",
  };
  expect((await failing(files)).message).toMatch(/no-such-gem-at-all/);
});

test("says that Rack is not in the bundle", async () => {
  const files = { Gemfile: "source 'https://gems.invalid'\n", "config.ru": "run nil" };
  expect((await failing(files)).message).toMatch(/^LoadError: Rack is not installed .* Gemfile$/);
});

test("says that there is no such Ruby", async () => {
  const other = newSpawner({ ruby: ascii("no-such-ruby") });
  const error = await failureOf(other.spawn(spawnRequest(app({ "config.ru": "" }))));
  expect(error.message).toContain("cannot find 'no-such-ruby' on PATH");
  await other.close(new AbortController().signal);
});
