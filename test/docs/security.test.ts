/** docs/security.md: each test that it names for a claim is there, under that name. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "../tooling/tree.ts";
import { readDocument } from "./markdown.ts";

/** `file` › "name", "name" …, over several lines perhaps. */
const references = /`(test\/[\w./-]+)` ›((?:,?\s+"[^"]+")+)/g;

function namedTests(): { readonly file: string; readonly name: string }[] {
  const text = readDocument("docs/security.md");
  return Array.from(text.matchAll(references)).flatMap(([, file = "", names = ""]) =>
    Array.from(names.matchAll(/"([^"]+)"/g), ([, name = ""]) => ({
      file,
      name: name.replaceAll(/\s+/g, " "),
    })),
  );
}

test("every claim's test is where docs/security.md says it is", () => {
  const named = namedTests();
  expect(named.length).toBeGreaterThan(10);
  const missing = named.filter(
    ({ file, name }) => !readFileSync(join(ROOT, file), "utf8").includes(`"${name}"`),
  );
  expect(missing).toEqual([]);
});

test("every arrow of docs/security.md is understood as a reference", () => {
  const text = readDocument("docs/security.md");
  expect(text.match(references)?.length).toBe(text.split("›").length - 1);
});
