// The directions between the folders of src are held by .oxlintrc.json. Each case writes one file
// that breaks a direction into a small tree with the real configuration and sees it refused; the
// counter-examples see that what is allowed passes.

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { ROOT } from "./tree.ts";

const FOLDERS = ["wire", "http", "pool", "native", "logging", "spawn", "status", "server"].concat([
  "parent",
  "gateway",
  "cli",
]);

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
}

interface Case {
  readonly claim: string;
  readonly folder: string;
  readonly text: string;
  /** The rule that refuses it; undefined: it must pass. */
  readonly rule: string | undefined;
}

const IMPORTS = "eslint(no-restricted-imports)";

function importing(folder: string, specifier: string, rule: string | undefined): Case {
  const claim = `src/${folder} may ${rule === undefined ? "" : "not "}import ${specifier}`;
  const text = `import * as it from "${specifier}";\n\nexport const them = [it];\n`;
  return { claim, folder, text, rule };
}

function folders(from: string, allowed: readonly string[]): Case[] {
  return FOLDERS.filter((to) => to !== from).map((to) =>
    importing(from, `../${to}/one.ts`, allowed.includes(to) ? undefined : IMPORTS),
  );
}

const PURE = ["wire", "http", "pool", "status"];

const REEXPORT = 'export { one } from "../server/one.ts";\n';
const TYPE_ONLY = 'import type { one } from "../server/one.ts";\n\nexport type It = typeof one;\n';

const cases: Case[] = [
  { claim: "src/wire may not export on", folder: "wire", text: REEXPORT, rule: IMPORTS },
  { claim: "src/wire may not import a type", folder: "wire", text: TYPE_ONLY, rule: IMPORTS },
  ...folders("wire", []),
  ...folders("http", ["wire"]),
  ...folders("pool", ["wire"]),
  ...folders("status", ["wire", "pool"]),
  ...folders("native", ["wire"]),
  ...folders("logging", ["wire", "native"]),
  ...folders("spawn", ["wire", "native", "pool", "logging"]),
  ...folders("server", ["wire", "native", "logging", "pool", "spawn", "status"]),
  ...folders("parent", ["wire", "native"]),
  ...folders("gateway", ["wire", "http", "native", "parent"]),
  ...FOLDERS.map((from) => importing(from, "../main.ts", IMPORTS)),
  ...FOLDERS.map((from) => importing(from, "bun:ffi", from === "native" ? undefined : IMPORTS)),
  ...FOLDERS.map((from) => importing(from, "citty", from === "cli" ? undefined : IMPORTS)),
  ...FOLDERS.map((from) => importing(from, "node:fs", PURE.includes(from) ? IMPORTS : undefined)),
  ...PURE.flatMap((from) =>
    ["Date.now()", "Bun.nanoseconds()", "process.pid", "performance.now()"].map((use) => ({
      claim: `src/${from} may not use ${use}`,
      folder: from,
      text: `export const it = ${use};\n`,
      rule: "eslint(no-restricted-globals)",
    })),
  ),
  {
    claim: "a promise may not be left floating",
    folder: "server",
    text: "export function start(later: () => Promise<void>): void {\n  later();\n}\n",
    rule: "typescript(no-floating-promises)",
  },
  {
    claim: "a switch must name every member of a union",
    folder: "pool",
    text: [
      'export function show(state: "idle" | "busy"): void {',
      '  switch (state) {\n    case "idle":\n      show("busy");\n  }\n}\n',
    ].join("\n"),
    rule: "typescript(switch-exhaustiveness-check)",
  },
  {
    claim: "a type may not be any",
    folder: "wire",
    text: "export function show(it: any): string {\n  return typeof it;\n}\n",
    rule: "typescript(no-explicit-any)",
  },
  {
    claim: "two files may not import each other",
    folder: "pool",
    text: 'import { one } from "./cycle.ts";\n\nexport const two = (): unknown => one;\n',
    rule: "import(no-cycle)",
  },
];

let directory = "";
let diagnostics: Diagnostic[] = [];

function pathOf(index: number): string {
  return `src/${cases[index]?.folder}/case-${index}.ts`;
}

function write(path: string, text: string): void {
  const full = join(directory, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, text);
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "pool-lint-"));
  for (const name of [".oxlintrc.json", "tsconfig.json", "package.json"]) {
    cpSync(join(ROOT, name), join(directory, name));
  }
  symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
  for (const folder of FOLDERS) write(`src/${folder}/one.ts`, "export const one = 1;\n");
  write("src/main.ts", "export const main = 1;\n");
  cases.forEach(({ text }, index) => write(pathOf(index), text));
  const partner = basename(pathOf(cases.length - 1));
  const back = `import { two } from "./${partner}";\n\nexport const one = (): unknown => two;\n`;
  write("src/pool/cycle.ts", back);
  const command = [process.execPath, "run", "--bun", "oxlint", "--format=json"];
  const { stdout, stderr } = Bun.spawnSync(command, { cwd: directory, stdin: "ignore" });
  try {
    diagnostics = (JSON.parse(stdout.toString()) as { diagnostics: Diagnostic[] }).diagnostics;
  } catch (cause) {
    throw new Error(`oxlint printed no JSON: ${stdout.toString()}${stderr.toString()}`, { cause });
  }
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("every folder of src has its rules", () => {
  const entries = readdirSync(join(ROOT, "src"), { withFileTypes: true });
  const unknown = entries.filter((entry) => entry.isDirectory() && !FOLDERS.includes(entry.name));
  expect(unknown.map(({ name }) => name)).toEqual([]);
});

cases.forEach(({ claim, rule }, index) => {
  test(claim, () => {
    const found = diagnostics.filter(({ filename }) => filename === pathOf(index));
    expect(found.map(({ code }) => code)).toEqual(rule === undefined ? [] : [rule]);
  });
});
