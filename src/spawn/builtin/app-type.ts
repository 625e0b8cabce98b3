/**
 * Which kind of application lies in a directory, and which file starts it (PROTOCOL section 10).
 *
 * The files belong to the application's owner, who need not be trusted: what is read of them is
 * read bounded, without waiting, and with no more rights than the owner of the directory has.
 */
import { fstatSync, readSync, statSync, type Stats } from "node:fs";

import { SyscallError } from "../../native/errno.ts";
import { open } from "../../native/fd.ts";
import { withFileRightsOf } from "../../native/process.ts";
import type { AppRequest, AppType } from "../../wire/app-request.ts";
import {
  ascii,
  escapeForLog,
  fromText,
  toBytes,
  toText,
  type ByteString,
} from "../../wire/bytes.ts";

/** What runs an application. */
export type LoaderType = "rack" | "wsgi" | "node" | "bun";

export interface FoundApplication {
  readonly loader: LoaderType;
  /** Relative to the application root. */
  readonly startupFile: ByteString;
  /** User id of the startup file's owner, symbolic links followed. */
  readonly owner: number;
}

/** There is no application to start; the message says what was looked for and where. */
export class NoApplicationError extends Error {
  override readonly name = "NoApplicationError";
}

/** A place to look: a file, or what package.json names as its `main`. */
interface Candidate {
  readonly file: string;
  readonly loader: LoaderType;
  /** The loader where there is no Node. */
  readonly withoutNode?: LoaderType;
}

const packageMain = "package.json main";

const inTypes: Readonly<Record<LoaderType, readonly Candidate[]>> = {
  rack: [{ file: "config.ru", loader: "rack" }],
  wsgi: candidates("wsgi", "passenger_wsgi.py", "wsgi.py"),
  bun: candidates("bun", "server.ts", "index.ts", packageMain, "server.js", "index.js"),
  node: candidates("node", packageMain, "app.js", "server.js", "index.js"),
};

const inAuto: readonly Candidate[] = [
  ...inTypes.rack,
  ...inTypes.wsgi,
  ...candidates("bun", "server.ts", "index.ts"),
  ...inTypes.node.map((candidate) => ({ ...candidate, withoutNode: "bun" as const })),
];

function candidates(loader: LoaderType, ...files: string[]): Candidate[] {
  return files.map((file) => ({ file, loader }));
}

/** @throws NoApplicationError: applications of that type are unknown here. */
export function knownType({ appType }: AppRequest): AppType {
  const word: string = appType;
  switch (word) {
    case "rails":
    case "rack":
    case "wsgi":
    case "bun":
    case "node":
    case "auto":
      return word;
    default: {
      const known = "rails, rack, wsgi, bun, node, auto";
      throw new NoApplicationError(`its type '${escapeForLog(ascii(word))}' is none of ${known}`);
    }
  }
}

function candidatesFor(appType: AppType): readonly Candidate[] {
  if (appType === "auto") return inAuto;
  return inTypes[appType === "rails" ? "rack" : appType];
}

/**
 * Finds the application. @param hasNode whether Node can be run.
 * @throws NoApplicationError.
 */
export function findApplication(
  root: ByteString,
  appType: AppType,
  hasNode: boolean,
): FoundApplication {
  const shown = toText(root);
  if (!root.startsWith("/")) {
    throw new NoApplicationError(`the application root '${shown}' is not an absolute path`);
  }
  const directory = factsOf(root);
  if (typeof directory === "string" || !directory.isDirectory()) {
    const why = typeof directory === "string" ? directory : "it is not a directory";
    throw new NoApplicationError(`the application root '${shown}' cannot be used: ${why}`);
  }
  const tried: string[] = [];
  for (const candidate of candidatesFor(appType)) {
    const file =
      candidate.file === packageMain ? readPackageMain(root, directory, tried) : candidate.file;
    if (file === undefined) continue;
    const spellings = candidate.file === packageMain ? spellingsOfMain(file, appType) : [file];
    const found = firstFile(root, spellings);
    if (typeof found !== "string") {
      const { spelling, owner } = found;
      const loader = loaderOf(candidate, spelling, hasNode);
      return { loader, startupFile: fromText(spelling), owner };
    }
    const why = found;
    tried.push(
      candidate.file === packageMain ? `${packageMain} ('${file}'; ${why})` : `${file} (${why})`,
    );
  }
  throw new NoApplicationError(
    `no startup file of type ${appType} in '${shown}'; looked for ${tried.join(", ")}`,
  );
}

/** `main` may leave out what Node and Bun add: the extension, or the index file of a directory. */
function spellingsOfMain(main: string, appType: AppType): string[] {
  const base = main.replace(/\/+$/, "");
  const extensions = appType === "node" ? [".js"] : [".js", ".ts"];
  return [main, ...[base, `${base}/index`].flatMap((path) => extensions.map((e) => path + e))];
}

/** The first of the spellings that is a file, or why the first spelling is none. */
function firstFile(
  root: ByteString,
  spellings: readonly string[],
): { spelling: string; owner: number } | string {
  let why: string | undefined;
  for (const spelling of spellings) {
    const facts = factsOf(ascii(`${root}/${fromText(spelling)}`));
    if (typeof facts !== "string" && facts.isFile()) return { spelling, owner: facts.uid };
    why ??= typeof facts === "string" ? facts : "not a file";
  }
  return why ?? "there is none";
}

function loaderOf(candidate: Candidate, file: string, hasNode: boolean): LoaderType {
  if (candidate.withoutNode === undefined) return candidate.loader;
  // Only in `auto`: TypeScript, and everything where there is no Node, is Bun's.
  if (candidate.file === packageMain && file.endsWith(".ts")) return "bun";
  return hasNode ? candidate.loader : candidate.withoutNode;
}

/** What stat(2) says, or why it says nothing. */
function factsOf(path: ByteString): Stats | string {
  try {
    return statSync(toBytes(path));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    return code === "ENOENT" || code === "ENOTDIR" ? "there is none" : code;
  }
}

type Owner = Pick<Stats, "uid" | "gid">;

/** A package.json larger than this is none. */
const maxPackageBytes = 1024 * 1024;

function readPackageMain(root: ByteString, owner: Owner, tried: string[]): string | undefined {
  const said = withFileRightsOf(owner.uid, owner.gid, () => tryReadMain(root));
  if (said.main !== undefined) return said.main;
  tried.push(`${packageMain} (${said.why})`);
  return undefined;
}

function tryReadMain(root: ByteString): { main?: string; why: string } {
  const text = readBounded(ascii(`${root}/package.json`));
  if (text instanceof Error) return { why: text.message };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { why: "it is not JSON" };
  }
  const main =
    typeof parsed === "object" && parsed !== null && "main" in parsed ? parsed.main : undefined;
  if (typeof main !== "string" || main === "") return { why: "it names none" };
  if (main.startsWith("/") || main.includes("\0") || main.split("/").includes("..")) {
    return { why: "it leads out of the application" };
  }
  return { main, why: "" };
}

function readBounded(path: ByteString): string | Error {
  try {
    // Never waits: open() is non-blocking, and only a regular file is read.
    using file = open(path, "read");
    const facts = fstatSync(file.number);
    if (!facts.isFile()) return new Error("not a file");
    if (facts.size > maxPackageBytes) return new Error("it is too large");
    const content = Buffer.alloc(facts.size);
    return content.toString("utf8", 0, readSync(file.number, content, 0, facts.size, 0));
  } catch (error) {
    const isAbsent = error instanceof SyscallError && error.code === "ENOENT";
    return new Error(isAbsent ? "there is none" : "it cannot be read");
  }
}
