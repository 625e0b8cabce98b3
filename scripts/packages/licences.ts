/** What Bun links statically, as its own documentation lists it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./contents.ts";

export interface LinkedLibrary {
  readonly name: string;
  readonly url: string;
  /** In the words of that list. */
  readonly licence: string;
}

const list = "node_modules/bun-types/docs/project/license.mdx";

/** Those that are part of a build for Linux; JavaScriptCore stands outside of the list. */
export function linkedLibraries(): LinkedLibrary[] {
  const text = readFileSync(join(ROOT, list), "utf8");
  const [, table = ""] = /^## Linked libraries$(.*?)^## /ms.exec(text) ?? [];
  const libraries = Array.from(
    table.matchAll(/^\| .*?\[`?([^`\]]+)`?\]\(([^)]+)\)(.*?)\| (.*?) *\|$/gm),
    ([, name = "", url = "", remark = "", licence = ""]) => ({ name, url, remark, licence }),
  );
  if (libraries.length === 0) throw new Error(`read ${list}: it has no table of libraries`);
  return libraries
    .filter(({ remark }) => !remark.includes("(on Windows)"))
    .map(({ name, url, licence }) => ({
      name,
      url,
      licence: licence.replaceAll(/\[([^\]]+)\]\([^)]*\)/g, "$1").replace(/ licensed$/, ""),
    }));
}
