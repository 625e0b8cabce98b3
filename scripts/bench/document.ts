/**
 * Tables in a document: they stand between the lines `<!-- NAME -->` and `<!-- end -->`, and are
 * put in anew by what has that name, as the measurement `bench http`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";

const END = "<!-- end -->";

/** What figures were measured on. */
export function machineLine(): string {
  return `Measured on ${cpus().length} × ${cpus()[0]?.model ?? "?"}, Linux ${release()}.`;
}

/** Replaces the text of that name. @throws Error when the document has no place for it. */
export function insertTables(file: string, name: string, text: string): void {
  const before = readFileSync(file, "utf8");
  const mark = `<!-- ${name} -->`;
  const begin = before.indexOf(mark);
  const end = before.indexOf(END, begin);
  if (begin < 0 || end < 0) throw new Error(`${file} has no lines ${mark} and ${END}`);
  const head = before.slice(0, begin + mark.length);
  writeFileSync(file, `${head}\n\n${text.trimEnd()}\n\n${before.slice(end)}`);
}
