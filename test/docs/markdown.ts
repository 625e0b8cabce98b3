/** The documents at the root of the tree and in docs/, and what can be taken out of them. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dir, "..", "..");

/** Paths of all documents, relative to the root of the tree. */
export function documents(): string[] {
  const atRoot = readdirSync(ROOT).filter(isDocument);
  const inDocs = readdirSync(join(ROOT, "docs")).filter(isDocument);
  return [...atRoot, ...inDocs.map((name) => `docs/${name}`)];
}

function isDocument(name: string): boolean {
  return name.endsWith(".md");
}

export function readDocument(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

export interface Block {
  /** All of the line that opens it, after the backticks. */
  readonly info: string;
  readonly text: string;
}

/** The fenced blocks of a document. */
export function blocksOf(text: string): Block[] {
  const found = text.matchAll(/^```([^\n`]*)\n(.*?)^```$/gms);
  return Array.from(found, ([, info = "", inside = ""]) => ({ info, text: inside }));
}

/** What stands under a heading of any level, up to the next of the same or a higher one. */
export function sectionOf(text: string, heading: string): string {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.replace(/^#+ /, "") === heading && line !== heading);
  const level = /^#+/.exec(lines[start] ?? "")?.[0].length;
  if (level === undefined) throw new Error(`there is no heading '${heading}'`);
  const rest = lines.slice(start + 1);
  const end = rest.findIndex((line) => (/^#+(?= )/.exec(line)?.[0].length ?? 9) <= level);
  return rest.slice(0, end < 0 ? undefined : end).join("\n");
}
