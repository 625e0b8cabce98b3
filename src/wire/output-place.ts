/** Where an application's output is written, as the scalar of `register` says (section 12). */
import { OptionsError } from "./option-readers.ts";

/** A file, absolute; or a socket of journald's, and what the application is called there. */
export type OutputPlace =
  { readonly file: string } | { readonly journal: string; readonly identifier: string };

/** @returns undefined: with the output of all others. @throws OptionsError. */
export function parseOutputPlace(value: unknown): OutputPlace | undefined {
  if (value === undefined) return undefined;
  const { file, journal, identifier } = Object(value) as Record<string, unknown>;
  if (isPath(file)) return { file };
  if (isPath(journal) && typeof identifier === "string" && !/\s/.test(identifier)) {
    return { journal, identifier };
  }
  throw new OptionsError("register: log must be a file, or a journal and an identifier");
}

function isPath(value: unknown): value is string {
  return typeof value === "string" && value.startsWith("/") && !value.includes("\0");
}
