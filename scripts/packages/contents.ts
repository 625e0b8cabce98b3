/**
 * What a package of any kind holds: the program under its two names, documents, examples, manual
 * pages and completions, laid out as below /usr.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";

import { historicName, shortName } from "../../src/cli/program-name.ts";
import type { Version } from "../version.ts";
import { commands } from "./commands.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "./completions.ts";
import { manualPages } from "./man.ts";

export const ROOT = resolve(import.meta.dir, "../..");

export const packageName = "application-pool-server";
export const summary = "Application pool server: web applications of any language behind HTTP";

/** The same processor as Debian and npm call it. */
export const architectures = {
  "linux-x64": { debian: "amd64", npm: "x64", runtime: "@oven/bun-linux-x64" },
  "linux-arm64": { debian: "arm64", npm: "arm64", runtime: "@oven/bun-linux-aarch64" },
} as const;

export type Target = keyof typeof architectures;

/** One build, from which packages are made. */
export interface Build {
  readonly target: Target;
  readonly version: Version;
  /** The program's file. */
  readonly executable: string;
  /** Who answers for the packages: `Name <address>`. */
  readonly maintainer: string;
}

/** A file of the tree. @param path below its root. */
export function fileOf(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Writes a file and the directories on the way to it; whatever the umask, with these rights. */
export function put(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, mode);
}

/** Puts all of it below a directory that stands for /usr. */
export function putContents(usr: string, { executable, version }: Build): void {
  mkdirSync(join(usr, "bin"), { recursive: true });
  copyFileSync(executable, join(usr, "bin", historicName));
  chmodSync(join(usr, "bin", historicName), 0o755);
  symlinkSync(historicName, join(usr, "bin", shortName));
  putDocuments(join(usr, "share/doc", packageName));
  const all = commands();
  for (const [name, text] of manualPages(all, fileOf("docs/serve.md"), version.epochSeconds)) {
    const path = join(usr, `share/man/man${name.slice(-1)}`, `${name}.gz`);
    put(path, Bun.gzipSync(Buffer.from(text), { level: 9 }));
  }
  const completions = {
    "bash-completion/completions": [shortName, bashCompletion(all)],
    "zsh/vendor-completions": [`_${shortName}`, zshCompletion(all)],
    "fish/vendor_completions.d": [`${shortName}.fish`, fishCompletion(all)],
  } as const;
  for (const [directory, [name, text]] of Object.entries(completions)) {
    put(join(usr, "share", directory, name), text);
  }
  // bash looks for a completion by the name of the command.
  symlinkSync(shortName, join(usr, "share/bash-completion/completions", historicName));
}

/** What people read, as it lies in the tree, so that links between documents lead somewhere. */
export function putDocuments(directory: string): void {
  for (const name of ["README.md", "ARCHITECTURE.md", "LICENSE"]) {
    put(join(directory, name), fileOf(name));
  }
  put(join(directory, "CHANGELOG.md"), fileOf("CHANGELOG.md"));
  for (const name of ["docs", "examples"]) {
    cpSync(join(ROOT, name), join(directory, name), { recursive: true });
  }
}
