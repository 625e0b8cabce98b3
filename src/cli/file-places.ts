/** Whose files are sent without asking an application: its `public/`, and `[[apps.static]]`. */
import { join, resolve } from "node:path";

import type { FilePlace } from "../gateway/config.ts";
import { decodePath } from "../wire/cgi.ts";
import { fromText, toText } from "../wire/bytes.ts";
import { show, type Table } from "./config-table.ts";

/**
 * @param isPublic whether it is `public/` that is served, or, of a site without one, the root.
 * @returns the longest paths first: of several that hold a path it decides.
 */
export function readFilePlaces(table: Table, root: string, isPublic: boolean): FilePlace[] {
  const places = table.tables("static").map((section) => readPlace(section, root));
  const isServed = table.flag("static_files", true);
  const seen = new Set<string>();
  for (const [index, { path }] of places.entries()) {
    if (seen.has(path) && path !== "") {
      table.wrong(`static[${index}].path`, `'${path}' is there twice`);
    }
    seen.add(path);
  }
  const whole = isPublic ? { directory: join(root, "public"), within: root } : { directory: root };
  if (isServed) places.push({ path: "/", ...whole });
  return places.toSorted((a, b) => b.path.length - a.path.length);
}

function readPlace(section: Table, root: string): FilePlace {
  const directory = section.text("root");
  if (directory === undefined && !section.has("root")) section.wrong("root", "is missing");
  const path = section.text("path") ?? "";
  const mistake = mistakeInPath(path, /[?#\s\p{C}]/u, "/media");
  if (!section.has("path")) section.wrong("path", "is missing");
  else if (mistake !== undefined) section.wrong("path", mistake);
  section.finish();
  return { path: toText(decodePath(fromText(path))), directory: resolve(root, directory ?? "") };
}

/**
 * Of a path below which something is served. @param refused a character that it may not hold.
 * @returns why it is none; undefined: it is one.
 */
export function mistakeInPath(path: string, refused: RegExp, example: string): string | undefined {
  if (!path.startsWith("/") || path.endsWith("/")) {
    return `'${path}' must begin with / and not end with one, as in '${example}'`;
  }
  const [character] = refused.exec(path) ?? [];
  if (character !== undefined) return `'${path}' may not hold ${show(character)}`;
  const [, step] = /\/(\.{0,2})(?=\/|$)/.exec(path) ?? [];
  return step === undefined ? undefined : `'${path}' may not have '${step}' between its slashes`;
}
