/** Which program an application is, and how it is started: some keys of `[[apps]]`. */
import { whyNotArgs, whyNotProgramText, type ProgramOptions } from "../wire/program.ts";
import type { Table } from "./config-table.ts";

/** @param root of the application; where paths start from. */
export function readProgram(table: Table, root: string): ProgramOptions {
  const startupFile = readText(table, "startup_file");
  const args = readArgs(table);
  const umask = readUmask(table);
  const program = {
    startupFile: startupFile === undefined ? undefined : belowRoot(table, root, startupFile),
    app: readText(table, "app"),
    args,
    cwd: readText(table, "cwd"),
    interpreter: readText(table, "interpreter"),
    umask,
    envFile: readText(table, "env_file"),
  };
  // What is not said is not there: registrations are compared as texts.
  return Object.fromEntries(Object.entries(program).filter(([, value]) => value !== undefined));
}

function readText(table: Table, key: string): string | undefined {
  const text = table.text(key);
  if (text === undefined) return undefined;
  const why = text === "" ? "is empty: leave it out" : whyNotProgramText(text);
  if (why === undefined) return text;
  table.wrong(key, why);
  return undefined;
}

function belowRoot(table: Table, root: string, file: string): string {
  const relative = file.startsWith(`${root}/`) ? file.slice(root.length + 1) : file;
  if (relative.startsWith("/") || relative.split("/").includes("..")) {
    table.wrong("startup_file", `'${file}' is not below the root`);
  }
  return relative;
}

function readArgs(table: Table): readonly string[] | undefined {
  if (!table.has("args")) return undefined;
  const args = table.texts("args", 0);
  const why = whyNotArgs(args);
  if (why !== undefined) table.wrong("args", why);
  return args;
}

function readUmask(table: Table): number | undefined {
  const text = table.text("umask");
  if (text === undefined) return undefined;
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  table.wrong("umask", `is '${text}', not a mask such as "0027"`);
  return undefined;
}
