/**
 * A file of variables, as dotenv and its like write them: `NAME=value` in each line, values plain
 * or in quotes, which may go over several lines; `export` before a name and comments are allowed.
 * The platform's parser reads it (util.parseEnv); what that would pass over in silence is an error
 * here.
 */
import { parseEnv } from "node:util";

import type { AppDirectory } from "./app-directory.ts";
import { fromText } from "../../wire/bytes.ts";

/** As much as variables of a configuration may take (cli/app-settings.ts). */
const maxBytes = 256 * 1024;

const blank = String.raw`[^\S\n]*`;
const name = String.raw`(?:export[^\S\n]+)?[A-Za-z_][\w.-]*`;
const quoted = `(?:"[^"]*"|'[^']*'|\`[^\`]*\`)${blank}(?:#[^\n]*)?`;
const plain = String.raw`(?![^\S\n]|["'\x60])[^\n]*`;
/** A blank line, a comment, or a variable, with the line end. */
const statement = new RegExp(
  `${blank}(?:#[^\\n]*|${name}${blank}=${blank}(?:${quoted}|${plain}))?(?:\\n|$)`,
  "y",
);

/**
 * Reads the file with no more rights than the owner of the root has. @param path relative to the
 * root, or absolute. @throws Error that names file and line, never what stands there.
 */
export function readEnvFile(
  directory: AppDirectory,
  path: string,
): Readonly<Record<string, string>> {
  const text = directory.read(fromText(path), maxBytes);
  if (text instanceof Error) {
    throw new Error(`its env_file '${path}' cannot be used: ${text.message}`);
  }
  const variables = parseEnvText(text);
  if (typeof variables === "number") {
    throw new Error(`its env_file, ${path}:${variables}: neither NAME=value nor a comment`);
  }
  return variables;
}

/** The variables of a text; a number: the first line that is wrong. */
export function parseEnvText(text: string): Readonly<Record<string, string>> | number {
  const unix = text.replaceAll("\r\n", "\n");
  for (let at = 0; at < unix.length; at = statement.lastIndex) {
    statement.lastIndex = at;
    if (unix.includes("\0") || !statement.test(unix)) {
      return unix.slice(0, Math.max(at, unix.indexOf("\0"))).split("\n").length;
    }
  }
  return parseEnv(unix) as Record<string, string>;
}
