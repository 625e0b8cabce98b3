/**
 * The npm package of one architecture: the program as two commands, and the library for parents as
 * its export. It lies as in this tree, so that the library finds the program beside it.
 */
import { chmodSync, copyFileSync, cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";

import { historicName, shortName } from "../../src/cli/program-name.ts";
import manifest from "../../package.json";
import { architectures, packageName, put, putDocuments, ROOT } from "./contents.ts";
import type { Build } from "./contents.ts";
import { runTool } from "./run-tool.ts";

/** What the library imports: itself, the wire, the kernel (a lint rule holds that). */
const ofLibrary = ["parent", "wire", "native"];

/** Puts the package's tree into an empty directory. */
export function putNpmTree(directory: string, { target, version, executable }: Build): void {
  const program = join("dist", historicName);
  mkdirSync(join(directory, "dist"), { recursive: true });
  copyFileSync(executable, join(directory, program));
  chmodSync(join(directory, program), 0o755);
  for (const name of ofLibrary) {
    cpSync(join(ROOT, "src", name), join(directory, "src", name), { recursive: true });
  }
  putDocuments(directory);
  const { description, license, type, exports } = manifest;
  const content = {
    name: npmName(target),
    version: version.number,
    description,
    license,
    type,
    exports,
    bin: { [shortName]: program, [historicName]: program },
    os: ["linux"],
    cpu: [architectures[target].npm],
    libc: ["glibc"],
    files: ["dist", "src", "docs", "examples", "*.md", "LICENSE"],
  };
  put(join(directory, "package.json"), `${JSON.stringify(content, undefined, 2)}\n`);
}

function npmName(target: Build["target"]): string {
  return `${packageName}-${target}`;
}

/** Packs a tree. @returns the file's name in the directory `out`. */
export function packNpm(tree: string, out: string, { target, version }: Build): string {
  runTool(["npm", "pack", "--silent", "--pack-destination", out], {}, tree);
  return `${npmName(target)}-${version.number}.tgz`;
}
