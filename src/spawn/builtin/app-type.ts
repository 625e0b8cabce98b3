/**
 * Which kind of application lies in a directory, and which file starts it (PROTOCOL section 10).
 */
import type { AppRequest, AppType } from "../../wire/app-request.ts";
import { ascii, escapeForLog, fromText, toText, type ByteString } from "../../wire/bytes.ts";
import type { ProgramOptions } from "../../wire/program.ts";
import { absent, AppDirectory } from "./app-directory.ts";
import { findNamed } from "./named-program.ts";
import { startupHint } from "./startup-hint.ts";

/** What runs an application; `python`: either of its interfaces, whichever it is seen to have. */
export type LoaderType = "rack" | "wsgi" | "asgi" | "python" | "node" | "bun" | "command";

export interface FoundApplication {
  readonly loader: LoaderType;
  /** Relative to the application root; empty: a module of Python that lies elsewhere, or none. */
  readonly startupFile: ByteString;
  /** As configured: `module:callable`. */
  readonly app?: string;
  /** User id of the owner of the file itself, which links may have led to. */
  readonly owner: number;
}

/** A place to look: a file, or what package.json names as its `main`. */
interface Candidate {
  readonly file: string;
  readonly loader: LoaderType;
  /** The loader where there is no Node. */
  readonly withoutNode?: LoaderType;
}

const packageMain = "package.json main";

const inTypes: Readonly<Record<Exclude<LoaderType, "python" | "command">, readonly Candidate[]>> = {
  rack: [{ file: "config.ru", loader: "rack" }],
  wsgi: candidates("wsgi", "passenger_wsgi.py", "wsgi.py"),
  // FastAPI's and Starlette's documents call it main.py, or app.py.
  asgi: candidates("asgi", "asgi.py", "passenger_wsgi.py", "wsgi.py", "main.py", "app.py"),
  bun: candidates("bun", "server.ts", "index.ts", packageMain, "server.js", "index.js"),
  node: candidates("node", packageMain, "app.js", "server.js", "index.js"),
};

const inAuto: readonly Candidate[] = [
  ...inTypes.rack,
  // Django writes wsgi.py and asgi.py side by side, for whoever wants the one or the other.
  ...candidates("python", "passenger_wsgi.py", "wsgi.py"),
  ...candidates("asgi", "asgi.py"),
  ...candidates("bun", "server.ts", "index.ts"),
  ...inTypes.node.map((candidate) => ({ ...candidate, withoutNode: "bun" as const })),
];

function candidates(loader: LoaderType, ...files: string[]): Candidate[] {
  return files.map((file) => ({ file, loader }));
}

const inTypeOrAuto = { ...inTypes, rails: inTypes.rack, auto: inAuto };

/** @throws Error: applications of that type are unknown here. */
export function knownType({ appType }: Pick<AppRequest, "appType">): AppType {
  const known = [...Object.keys(inTypeOrAuto), "command"];
  if (known.includes(appType)) return appType as AppType;
  const shown = escapeForLog(ascii(appType));
  throw new Error(`its type '${shown}' is none of ${known.join(", ")}`);
}

/** @throws Error. */
export function findApplication(
  root: ByteString,
  appType: AppType,
  hasNode: boolean,
  program?: ProgramOptions,
): FoundApplication {
  using directory = new AppDirectory(root);
  return findIn(directory, toText(root), appType, hasNode, program);
}

/**
 * Finds the application. @param shown its root, for people. @param hasNode whether Node can be run.
 * @throws Error.
 */
export function findIn(
  directory: AppDirectory,
  shown: string,
  appType: AppType,
  hasNode: boolean,
  program: ProgramOptions = {},
): FoundApplication {
  if (appType === "command") {
    // Nothing is looked for: whoever owns the directory decides what its programs do.
    return { loader: "command", startupFile: ascii(""), owner: directory.itself.facts.uid };
  }
  const named = findNamed(directory, appType, hasNode, program);
  if (named !== undefined) return named;
  const tried: string[] = [];
  for (const candidate of inTypeOrAuto[appType]) {
    const isMain = candidate.file === packageMain;
    const file = isMain ? readPackageMain(directory) : candidate.file;
    if (file instanceof Error) {
      tried.push(said(packageMain, file.message));
      continue;
    }
    const found = firstFile(directory, isMain ? spellingsOfMain(file, appType) : [file]);
    if (typeof found !== "string") {
      const { spelling, owner } = found;
      const loader = loaderOf(candidate, spelling, hasNode);
      return { loader, startupFile: fromText(spelling), owner };
    }
    tried.push(said(isMain ? `${packageMain} ('${file}')` : file, found));
  }
  const hint = startupHint(directory, appType); // First: logs cut long lines.
  throw new Error(
    `no startup file of type ${appType} in '${shown}'${hint}; looked for ${tried.join(", ")}`,
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
  directory: AppDirectory,
  spellings: readonly string[],
): { spelling: string; owner: number } | string {
  let why: string | undefined;
  for (const spelling of spellings) {
    const found = directory.file(fromText(spelling));
    if (typeof found !== "string") return { spelling, owner: found.facts.uid };
    why ??= found;
  }
  return why ?? absent;
}

/** A place that was looked at, and why in vain. That it is empty goes without saying. */
function said(place: string, why: string): string {
  return why === absent ? place : `${place} (${why})`;
}

function loaderOf(candidate: Candidate, file: string, hasNode: boolean): LoaderType {
  if (candidate.withoutNode === undefined) return candidate.loader;
  // Only in `auto`: TypeScript, and everything where there is no Node, is Bun's.
  if (candidate.file === packageMain && file.endsWith(".ts")) return "bun";
  return hasNode ? candidate.loader : candidate.withoutNode;
}

/** A package.json larger than this is none. */
const maxPackageBytes = 1024 * 1024;

/** An Error: why it cannot be told. */
function readPackageMain(directory: AppDirectory): string | Error {
  const text = directory.read(ascii("package.json"), maxPackageBytes);
  if (text instanceof Error) return text;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return new Error("it is not JSON");
  }
  const main =
    typeof parsed === "object" && parsed !== null && "main" in parsed ? parsed.main : undefined;
  if (typeof main !== "string" || main === "") return new Error("it names none");
  if (main.startsWith("/") || main.includes("\0") || main.split("/").includes("..")) {
    return new Error("it leads out of the application");
  }
  return main;
}
