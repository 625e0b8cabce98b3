/**
 * Macros of Bun's bundler: they run while the code is bundled (or loaded from a checkout), and what
 * they return is put in the place of the call. Nothing of this file is part of the binary.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The files of a folder beside this one: name to text. Python may have made a directory there. */
export function textsIn(folder: string): Record<string, string> {
  const entries = readdirSync(join(import.meta.dir, folder), { withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  return Object.fromEntries(names.toSorted().map((name) => [name, textOf(`${folder}/${name}`)]));
}

export function textOf(file: string): string {
  return readFileSync(join(import.meta.dir, file), "utf8");
}

/**
 * A program beside this file and all that it imports, as one text of JavaScript: to read and
 * translate some fifteen files takes an instance half as long as everything else at its start.
 */
export function bundleOf(entry: string, target: "bun" | "node"): string {
  // A macro must not wait for the bundler that waits for it.
  const build = Bun.spawnSync({
    cmd: [process.execPath, "build", entry, `--target=${target}`, `--format=${formats[target]}`],
    cwd: import.meta.dir,
    env: { ...process.env, BUN_BE_BUN: "1" },
  });
  if (build.success) return build.stdout.toString();
  throw new Error(`bundle ${entry}: ${build.stderr.toString()}`);
}

const formats = { bun: "esm", node: "cjs" };
