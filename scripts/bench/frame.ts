/**
 * What all measurements of started servers are within: a directory for the time of it, which goes
 * with all that was started however it ends; a text that is printed, and put into a document.
 */
import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";

import { workDirectory } from "../work-directory.ts";
import { insertTables } from "./document.ts";
import { type Flag, optionalPath, pathFlag } from "./flags.ts";
import { StartedServer } from "./started-server.ts";

const ROOT = join(import.meta.dir, "..", "..");
const SERVER = join(ROOT, "dist", "ApplicationPoolServerExecutable");
/** One application of each kind. */
export const APPS = join(import.meta.dir, "apps");

export const serverFlag: Flag<string> = pathFlag(SERVER);
/** Flags of measurements that have a place in a document. */
export const usualFlags = { server: serverFlag, write: optionalPath };

/** What a measurement comes to: its text, and what is wrong, each in words. */
export interface Outcome {
  readonly text: string;
  readonly wrong?: readonly string[];
}

/**
 * Runs a measurement. @param name of its place in the document.
 * @throws Error in words when something is missing, does not answer, or is wrong.
 */
export async function measured(
  name: string,
  { server, write }: { readonly server: string; readonly write?: string | undefined },
  measure: (directory: string) => Promise<Outcome>,
): Promise<void> {
  if (!existsSync(server)) throw new Error(`measure ${server}: no such file`);
  const directory = workDirectory("pool-bench-", () => StartedServer.stopAll());
  try {
    const { text, wrong = [] } = await measure(directory);
    console.log(text);
    if (wrong.length > 0) throw new Error(wrong.join("; "));
    if (write !== undefined) insertTables(write, `bench ${name}`, text);
  } finally {
    await StartedServer.stopAll();
    rmSync(directory, { recursive: true, force: true });
  }
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Where $KEEP_LOG says, so that one can read what the server wrote. */
export function keepLog(log: string): void {
  const copy = process.env["KEEP_LOG"];
  if (copy !== undefined) cpSync(log, copy);
}
