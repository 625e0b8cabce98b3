/** How wsgi applications fail to start, and what a developer is told of it. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";

import type { SpawnFailedError, SpawnRequest } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { childrenOf, isRunning } from "../helpers/processes.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { failureOf, pageOf, writeApp } from "./support.ts";
import { wsgiRequest } from "./wsgi-programs.ts";

const { directory, spawner } = spawnerScene();
let count = 0;

function newRoot(files: Readonly<Record<string, string>>): string {
  count += 1;
  return writeApp(directory, `app-${count}`, files);
}

function failing(source: string, changed: Partial<SpawnRequest> = {}): Promise<SpawnFailedError> {
  return failureOf(spawner.spawn(wsgiRequest(newRoot({ "wsgi.py": source }), changed)));
}

const failures: readonly (readonly [string, string, string, string])[] = [
  ["raises", "\nraise ValueError('boom')", "ValueError: boom", "wsgi.py&quot;, line 2"],
  ["does not parse", "\n\ndef x(:", "SyntaxError: invalid syntax", "wsgi.py&quot;, line 3"],
  ["is indented wrongly", "  x\n y", "IndentationError: ", "wsgi.py&quot;, line"],
  ["lacks a module", "import gone_for_ever", "No module named 'gone_for_ever'", "line 1"],
  ["has no application", "x = 1", "wsgi.py defines neither `application` nor `app`", ""],
  ["has none to call", "application = 'x'", "`application` in wsgi.py cannot be called", "a str"],
  ["exits", "import sys\nsys.exit(3)", "wsgi.py called sys.exit(3) while it was loaded", "line 2"],
  [
    "ends at once",
    "import os; print('why', flush=True); os._exit(3)",
    "exited with status 3",
    "why",
  ],
  ["kills itself", "import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL", "wsgi.py"],
  ["interrupts itself", "raise KeyboardInterrupt('x1')", "KeyboardInterrupt: x1", "line 1"],
  ["writes nonsense", "import os; os.write(4, b'\\0\\4abc\\0')", "lifeline: 'abc'", "wsgi.py"],
];

for (const spawnMethod of ["conservative", "smart"] as const) {
  test.each(failures)(
    `says of a program (${spawnMethod}) that %s what and where`,
    async (_, source, why, where) => {
      const error = await failing(source, { spawnMethod });
      expect(error.message).toContain(why);
      expect(pageOf(error)).toContain(where);
      expect(pageOf(error)).not.toMatch(/(loader|startup)\.py&quot;/);
    },
  );
}

test("shows the way to an error through the application's own modules", async () => {
  const root = newRoot({
    "wsgi.py": "import inner",
    "inner.py": "try:\n  {}['first']\nexcept KeyError as e:\n  raise RuntimeError('second') from e",
  });
  const error = await failureOf(spawner.spawn(wsgiRequest(root)));
  expect(error.message).toContain("RuntimeError: second");
  const page = pageOf(error);
  for (const part of ["wsgi.py&quot;, line 1", "inner.py&quot;, line 2", "KeyError: &#x27;first"]) {
    expect(page).toContain(part);
  }
  expect(page).not.toContain("importlib");
});

test("shows what the program wrote, and no value of its environment", async () => {
  const error = await failing("print('so far so good')\nraise ValueError('x')", {
    env: { PASSWORD: "correct horse" },
  });
  expect(pageOf(error)).toContain("so far so good");
  expect(pageOf(error)).not.toContain("correct horse");
});

test("shows an error whose text has no form", async () => {
  const source = "class Odd(Exception):\n  def __str__(self): raise ValueError()\nraise Odd()";
  expect((await failing(source)).message).toMatch(/Odd: <.*>/);
  expect((await failing("raise ValueError('\\udcff')")).message).toContain("ValueError: ?");
});

test("says that there is no Python", async () => {
  const error = await failing("", { env: { PATH: "/nowhere" } });
  expect(error.message).toContain("cannot find 'python3' on PATH /nowhere");
});

test("says that the virtual environment has no Python", async () => {
  const root = newRoot({ "wsgi.py": "", ".venv/pyvenv.cfg": "" });
  const error = await failureOf(spawner.spawn(wsgiRequest(root)));
  expect(error.message).toContain(`No such file or directory: '${root}/.venv/bin/python3'`);
});

test("leaves nothing of a start under way when the server is killed outright", async () => {
  const root = newRoot({ "wsgi.py": "while True: pass" });
  const source = `${import.meta.dir}/../../src/spawn/builtin/builtin-spawner.ts`;
  const server = `${directory}/server.ts`;
  writeFileSync(
    server,
    `import { BuiltinSpawner } from "${source}";
     const options = { notify() {}, writeOutput() {}, baseDirectory: "${directory}" };
     const request = ${JSON.stringify(wsgiRequest(root))};
     const spawner = new BuiltinSpawner(options);
     void spawner.spawn(request);
     await spawner.spawn({ ...request, spawnMethod: "smart" });`,
  );
  const child = Bun.spawn([process.execPath, server], { stdio: ["ignore", "ignore", "ignore"] });
  const loading = () => childrenOf(child.pid).filter(({ command }) => command.includes("wsgi.py"));
  const started = await until("both load", () => (loading().length === 2 ? loading() : false));
  child.kill("SIGKILL");
  await child.exited;
  await until("both are gone", () => started.every(({ pid }) => !isRunning(pid)));
});
