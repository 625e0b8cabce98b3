/** The files of this tree that people wrote, for tests that read them all. */

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dir, "..", "..");

/** Made by tools, or not ours. */
const NOT_OURS = new Set(["node_modules", "dist", ".git", ".bun-cache"]);
const GENERATED = new Set(["bun.lock", "package-lock.json"]);

export interface SourceFile {
  /** Relative to the root of the tree. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

function walk(directory: string): string[] {
  return readdirSync(join(ROOT, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
    if (NOT_OURS.has(entry.name)) return [];
    if (entry.isDirectory()) return walk(path);
    return entry.isFile() && !entry.name.endsWith(".log") ? [path] : [];
  });
}

function load(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), "utf8");
  return { path, text, lines: text.replace(/\n$/, "").split("\n") };
}

/** Every file that is written by hand, sorted by path. */
export function writtenFiles(): SourceFile[] {
  return walk("")
    .filter((path) => !GENERATED.has(path))
    .toSorted()
    .map(load);
}

/** Lock files and their kind. */
export function generatedFiles(): SourceFile[] {
  return [...GENERATED].map(load);
}
