// The rules of style that no other tool holds: sizes, headers, widths, and words that have no place
// in a public tree. Each test lists all offenders at once.

import { expect, test } from "bun:test";
import { generatedFiles, type SourceFile, writtenFiles } from "./tree.ts";

const files = writtenFiles();
const code = files.filter(
  ({ path }) => /\.(ts|js|mjs|cjs|c|h|py|rb)$/.test(path) || isScript(path),
);
const typescript = files.filter(({ path }) => path.endsWith(".ts"));
/** Without the tests in this folder, which spell out what they look for. */
const searched = typescript.filter(({ path }) => !path.startsWith("test/tooling/"));

const MAX_LINES = 400;
const MAX_WIDTH = 100;

function isScript(path: string): boolean {
  return /^(scripts|\.ci)\/[^.]+$/.test(path);
}

/** The line, or nothing if all of it is a comment. */
function strip(line: string): string {
  return /^\s*(\*|\/\/|\/\*)/.test(line) ? "" : line;
}

/** `path:line` of every line for which `offends` holds. */
function offenders(among: readonly SourceFile[], offends: (line: string) => boolean): string[] {
  return among.flatMap(({ path, lines }) =>
    lines.flatMap((line, at) => (offends(line) ? [`${path}:${at + 1}`] : [])),
  );
}

test("the tree was found", () => {
  expect(typescript.map(({ path }) => path)).toContain("src/wire/bytes.ts");
  expect(code.map(({ path }) => path)).toContain("scripts/setup");
});

test("no file of code is longer than 400 lines", () => {
  const long = code.filter(({ lines }) => lines.length > MAX_LINES);
  expect(long.map(({ path, lines }) => `${path}: ${lines.length}`)).toEqual([]);
});

test("no line of code is wider than 100 characters, but for the claims that name tests", () => {
  const claim = /^\s*(test|describe)(\.\w+\([^)]*\))?\(["`]/;
  expect(offenders(code, (line) => line.length > MAX_WIDTH && !claim.test(line))).toEqual([]);
});

test("every source file opens with a comment that says what it is for", () => {
  const bare = code.filter(({ lines }) => {
    const first = lines[0]?.startsWith("#!") === true ? lines[1] : lines[0];
    return !/^(\/\*|\/\/|#|""")/.test(first ?? "");
  });
  const required = bare.filter(({ path }) => !path.startsWith("test/"));
  expect(required.map(({ path }) => path)).toEqual([]);
});

test("no type is `any`, nothing is an enum, and no check is switched off for a whole file", () => {
  const forbidden = [/(:|\bas|<|\|) ?any\b(?!["'`])/, /^\s*(export )?(const )?enum \w/];
  const hits = [
    ...offenders(searched, (line) => forbidden.some((rule) => rule.test(strip(line)))),
    ...offenders(searched, (line) =>
      /^\s*\/[/*] *((oxlint|eslint)-disable(?!-)|@ts-(ignore|nocheck))/.test(line),
    ),
  ];
  expect(hits).toEqual([]);
});

test("a word is one thing: no two folders export a class or type of the same name", () => {
  const places = new Map<string, string[]>();
  for (const { path, lines } of typescript.filter((file) => file.path.startsWith("src/"))) {
    for (const line of lines) {
      const name = /^export (?:abstract )?(?:class|interface|type) (\w+)/.exec(line)?.[1];
      if (name !== undefined) places.set(name, [...(places.get(name) ?? []), path]);
    }
  }
  expect([...places].filter(([, paths]) => paths.length > 1)).toEqual([]);
});

test("no test is skipped or run alone", () => {
  const alone = /\b(test|describe|it)\.(only|skip|todo)\b/;
  const hits = offenders(searched, (line) => alone.test(line));
  expect(hits).toEqual([]);
});

test("no file names a path of the machine it was written on, or a package registry", () => {
  // Put together here, so that this file does not contain what it looks for.
  const words = [
    ["/wo", "rk/"],
    ["/ro", "ot/"],
    ["regi", "stry."],
  ];
  const forbidden = words.map((parts) => parts.join(""));
  const everything = [...files, ...generatedFiles()];
  const hits = offenders(everything, (line) => forbidden.some((word) => line.includes(word)));
  expect(hits).toEqual([]);
});

test("every file ends with exactly one newline and has no trailing blanks", () => {
  const ragged = code.filter(({ text }) => !text.endsWith("\n") || text.endsWith("\n\n"));
  expect(ragged.map(({ path }) => path)).toEqual([]);
  expect(offenders(code, (line) => /[ \t\r]$/.test(line))).toEqual([]);
});
