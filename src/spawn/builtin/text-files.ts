/**
 * A macro of Bun's bundler: it runs while the code is bundled (or loaded from a checkout), and what
 * it returns is put in the place of the call. Nothing of this file is part of the binary.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The files of a folder beside this one, but for declarations of types: name to text. */
export function textsIn(folder: string): Record<string, string> {
  const path = join(import.meta.dir, folder);
  const names = readdirSync(path).filter((name) => !name.endsWith(".d.cts"));
  return Object.fromEntries(
    names.toSorted().map((name) => [name, readFileSync(join(path, name), "utf8")]),
  );
}
