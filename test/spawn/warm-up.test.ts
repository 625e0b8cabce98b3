/** What is made ready for applications that are registered, before anybody asks for them. */
import { expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { mayFilesHang } from "../../src/native/mounts.ts";
import { DEFAULT_LIMITS } from "../../src/pool/checks.ts";
import { rehearse } from "../../src/server/rehearsal.ts";
import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import { LoaderDirectory } from "../../src/spawn/builtin/loader-files.ts";
import { loaderTexts } from "../../src/spawn/builtin/loader-texts.ts";
import { WarmUp } from "../../src/spawn/builtin/warm-up.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { notebook, spawnRequest, writeApp } from "./support.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const usualPath = process.env["PATH"];
const nobody = 65_534;

/** What a warm-up works on: closed, and PATH as it was, at the end of the test. */
function scene(path = usualPath) {
  const base = temporaryDirectory();
  const directory = new LoaderDirectory(base);
  const warmUp = new WarmUp(directory);
  process.env["PATH"] = path;
  const root = join(base, "app");
  mkdirSync(root);
  return {
    warmUp,
    root,
    private: () => readdirSync(base).find((name) => name.startsWith("application-pool-")),
    folder: (name: string) => join(directory.path, name),
    expect: (appType: "auto" | "wsgi" | "rack" | "node") =>
      warmUp.expect(spawnRequest(root, { appType }), {}),
    async [Symbol.asyncDispose]() {
      process.env["PATH"] = usualPath;
      await warmUp.close();
      directory.remove();
    },
  };
}

function compiledIn(folder: string): string[] {
  const place = join(folder, "__pycache__");
  return existsSync(place) ? readdirSync(place).filter((name) => name.endsWith(".pyc")) : [];
}

/** Where a mount may hang, no file is looked at for what need not be. */
const testOfFiles = test.skipIf(mayFilesHang());

testOfFiles(
  "the files of the kinds that are registered are written, those of others are not",
  async () => {
    await using made = scene();
    writeFileSync(join(made.root, "config.ru"), "");
    made.expect("auto");
    made.expect("node");
    made.expect("auto");
    const written = () => readdirSync(made.folder("."));
    await until("both are there", () => ["node", "rack"].every((name) => written().includes(name)));
    expect(written().toSorted()).toEqual(["node", "rack"]);
  },
);

test("who comes when the rest is done has his kind made ready too", async () => {
  await using made = scene();
  made.expect("node");
  await until("the first is there", () => existsSync(made.folder("node/preload.cjs")));
  made.expect("rack");
  await until("the second is there", () => existsSync(made.folder("rack/loader.rb")));
});

testOfFiles(
  "Python's loader is compiled, and whoever runs it takes what was compiled",
  async () => {
    // Where everybody may run it, which is not so of one in somebody's home.
    const path = "/usr/local/bin:/usr/bin:/bin";
    await using made = scene(path);
    made.expect("wsgi");
    const folders = ["python", "wsgi"].map(made.folder);
    const count = [loaderTexts.python, loaderTexts.wsgi].flatMap((files) =>
      Object.keys(files),
    ).length;
    await until("all are compiled", () => folders.flatMap(compiledIn).length === count);
    const python = Bun.spawnSync({
      cmd: [
        Bun.which("python3", { PATH: path }) ?? "",
        "-v",
        "-I",
        "-c",
        `import sys; sys.path.insert(0, "${folders[0]}"); import head`,
      ],
      ...(process.geteuid?.() === 0 && { uid: nobody, gid: nobody }),
      cwd: "/",
    });
    expect(python.stderr.toString()).toMatch(/# code object from '[^']*\/head\.[^']*\.pyc'/);
  },
);

test("root runs no Python that somebody else has put onto its PATH", async () => {
  if (process.geteuid?.() !== 0) return;
  const place = temporaryDirectory();
  const traces = join(place, "ran");
  writeFileSync(join(place, "python3"), `#!/bin/sh\necho >> ${traces}\n`);
  chmodSync(join(place, "python3"), 0o755);
  for (const path of [place, join(place, "python3")]) {
    await using made = scene(`${place}:${usualPath}`);
    chownSync(path, nobody, nobody);
    made.expect("wsgi");
    await until("the files are written", () => existsSync(made.folder("wsgi/session.py")));
    await Bun.sleep(100);
    expect([existsSync(traces), compiledIn(made.folder("wsgi"))]).toEqual([false, []]);
    chownSync(path, 0, 0);
  }
});

test("its end waits for nothing, and leaves neither a process nor a file", async () => {
  for (const pauseMs of [0, 101, 110, 130, 160]) {
    const made = scene();
    made.expect("wsgi");
    await Bun.sleep(pauseMs);
    await made[Symbol.asyncDispose]();
    await Bun.sleep(20);
    expect(made.private()).toBeUndefined();
  }
});

test("a start is rehearsed once: its instance serves a session, and nothing of it is left", async () => {
  const base = temporaryDirectory();
  const { notify, notes } = notebook();
  const spawner = new BuiltinSpawner({ notify, writeOutput: () => {}, baseDirectory: base });
  const limits = { ...DEFAULT_LIMITS, max: 3 };
  const rehearsed: boolean[] = [];
  try {
    spawner.start(async (app, options) => {
      rehearsed.push(await rehearse(spawner, limits, app, options));
    });
    for (const appType of ["node", "rack"] as const) {
      spawner.expect(spawnRequest(base, { appType }), {});
      await until("it has been rehearsed", () => rehearsed.length > 0);
    }
    const folders = (): string[] => readdirSync(join(base, readdirSync(base)[0] ?? ""));
    await until("what came later is ready", () => folders().includes("rack"));
    // What looks at files of mounts that may hang is the spawner's, and goes on.
    expect(await spawner.aside.deleteRestartFile(spawnRequest(base, {}).root, 10_000)).toEqual({
      kind: "absent",
    });
  } finally {
    await spawner.close(new AbortController().signal);
  }
  expect({ rehearsed, notes, left: readdirSync(base) }).toEqual({
    rehearsed: [true],
    notes: [],
    left: [],
  });
});

test("nothing is rehearsed once a start has been asked for", async () => {
  const base = temporaryDirectory();
  const source = "export default { fetch: () => new Response() };";
  const root = writeApp(temporaryDirectory(), "app", { "server.ts": source });
  const { notify } = notebook();
  const spawner = new BuiltinSpawner({ notify, writeOutput: () => {}, baseDirectory: base });
  const written = (): string[] => readdirSync(join(base, readdirSync(base)[0] ?? ""));
  let rehearsals = 0;
  try {
    spawner.start(() => Promise.resolve((rehearsals += 1)));
    const asked = spawner.spawn(spawnRequest(root, { appType: "bun" }));
    spawner.expect(spawnRequest(root, { appType: "node" }), {});
    (await asked).release();
    await until("all else is ready", () => written().includes("node"));
    // Whatever follows that has its turn.
    await Bun.sleep(0);
  } finally {
    await spawner.close(new AbortController().signal);
  }
  expect(rehearsals).toBe(0);
});
