/**
 * The documents against the tree: what they refer to exists, the options they list are those the
 * server has, and the programs in the README run as they stand there.
 */
import { afterAll, expect, test } from "bun:test";
import { cpSync, existsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { daemonCommand } from "../../src/cli/config.ts";
import { variableOf } from "../../src/cli/options.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { blocksOf, documents, readDocument, ROOT } from "./markdown.ts";

const temporaryDirectory = temporaryDirectories();
const readme = readDocument("README.md");

test("there are documents", () => {
  expect(documents()).toContain("README.md");
  expect(documents()).toContain("docs/protocol.md");
});

test("every file of the tree that a document names is there", () => {
  const missing = documents().flatMap((path) => {
    const names = readDocument(path).match(/\b(?:src|test|scripts|examples|docs)\/[\w./-]*\w/g);
    return (names ?? []).filter((name) => !existsSync(join(ROOT, name)));
  });
  expect(missing).toEqual([]);
});

test("every link between documents leads somewhere, also to headings", () => {
  const broken = documents().flatMap((path) => {
    const links = readDocument(path).matchAll(/\]\(([^)\s]+)\)/g);
    return Array.from(links, ([, link = ""]) => link).filter((link) => !leads(path, link));
  });
  expect(broken).toEqual([]);
});

function leads(from: string, link: string): boolean {
  if (/^https?:/.test(link)) return true;
  const [file = "", anchor] = link.split("#");
  const target = file === "" ? from : join(dirname(from), file);
  if (!existsSync(join(ROOT, target))) return false;
  return anchor === undefined || anchorsOf(readDocument(target)).includes(anchor);
}

/** The anchors that headings get: lower case, without punctuation, blanks as dashes. */
function anchorsOf(text: string): string[] {
  return Array.from(text.matchAll(/^#+ (.*)$/gm), ([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

test("no line of a document is wider than 120 characters", () => {
  const wide = documents().flatMap((path) =>
    readDocument(path)
      .split("\n")
      .flatMap((line, at) => (line.length > 120 ? [`${path}:${at + 1}`] : [])),
  );
  expect(wide).toEqual([]);
});

const options = Object.entries(daemonCommand.args ?? {}).filter(([, of]) => of.type === "string");

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

test("the README lists the server's options, with their variables and defaults", () => {
  const rows = Array.from(
    readme.matchAll(/^\| `--([\w-]+)` +\| `(\w+)` +\| (\S+) +\|/gm),
    ([, name = "", variable = "", fallback = ""]) => ({ name, variable, fallback }),
  );
  const real = options.map(([name, { description = "" }]) => ({
    name,
    variable: variableOf(name),
    fallback: /\(default (\S+)\)$/.exec(description)?.[1] ?? "none",
  }));
  expect(rows.toSorted(byName)).toEqual(real.toSorted(byName));
});

test("the README names the six arguments in their order", () => {
  const positional = Object.entries(daemonCommand.args ?? {}).filter(
    ([, of]) => of.type === "positional",
  );
  expect(readme).toContain(positional.map(([name]) => name).join(" "));
});

/** The program that follows the marker `<!-- test: name -->`. */
function programOf(name: string): string {
  const [, after] = readme.split(`<!-- test: ${name} -->`);
  const program = blocksOf(after ?? "")[0];
  if (program?.info !== "ts") throw new Error(`the README has no program '${name}'`);
  return program.text;
}

/**
 * Starts it as a file of its own, beside a copy of the examples: as root the tests run them as
 * another user, who may not enter where the checkout lies.
 */
function start(name: string, change: (program: string) => string) {
  const directory = temporaryDirectory();
  cpSync(join(ROOT, "examples"), join(directory, "examples"), { recursive: true });
  const file = join(directory, "program.ts");
  const library = JSON.stringify(join(ROOT, "src/parent/index.ts"));
  const program = programOf(name).replace('"application-pool-server"', library);
  writeFileSync(file, change(program));
  const child = Bun.spawn([process.execPath, file], {
    cwd: directory,
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  return child;
}

const started: Bun.Subprocess[] = [];

afterAll(async () => {
  for (const child of started) child.kill();
  await Promise.all(started.map(({ exited }) => exited));
});

test("the README's request is answered, and its program ends", async () => {
  const child = start("request", (program) => program);
  expect(await child.stdout.text()).toMatch(
    /^200 Hello from the pool!\nYou asked for \/from\/readme;/,
  );
  expect(await child.exited).toBe(0);
});

test("the README's front end answers over HTTP", async () => {
  const child = start(
    "front end",
    (program) =>
      program.replace("Bun.serve({", "const front = Bun.serve({").replace("port: 8080", "port: 0") +
      "console.log(front.url.href);\n",
  );
  const { value } = await child.stdout.getReader().read();
  const url = Buffer.from(value ?? [])
    .toString()
    .trim();
  const answer = await fetch(`${url}from/http`);
  expect(answer.status).toBe(200);
  expect(await answer.text()).toContain("You asked for /from/http;");
});

test("inside the checkout the package can be imported by its name", () => {
  const program =
    'const { startPoolServer } = await import("application-pool-server");' +
    "console.log(typeof startPoolServer)";
  const { stdout } = Bun.spawnSync([process.execPath, "-e", program], { cwd: ROOT });
  expect(stdout.toString()).toBe("function\n");
});
