/**
 * The application where the configuration names it: a startup file of any name, anywhere below the
 * root, or a module of Python and what is called in it. The file's owner counts as that of a file
 * that was found by its name (app-type.ts).
 */
import type { AppType } from "../../wire/app-request.ts";
import { fromText } from "../../wire/bytes.ts";
import type { ProgramOptions } from "../../wire/program.ts";
import type { AppDirectory } from "./app-directory.ts";
import type { FoundApplication, LoaderType } from "./app-type.ts";
import { djangoHint } from "./startup-hint.ts";

/** What runs a file, by the end of its name. */
const byExtension: Readonly<Record<string, LoaderType>> = {
  ru: "rack",
  py: "python",
  wsgi: "wsgi",
  ts: "bun",
  tsx: "bun",
  mts: "bun",
  cts: "bun",
  js: "node",
  mjs: "node",
  cjs: "node",
};

/** `package.module:callable`, or either alone; the callable may be made by a call: `make()`. */
const appPattern = /^([\p{L}_][\p{L}\p{N}_.]*)?(?::([\p{L}_][\p{L}\p{N}_.]*(?:\(\))?))?$/u;

/** @returns undefined: the configuration names none. @throws Error. */
export function findNamed(
  directory: AppDirectory,
  appType: AppType,
  hasNode: boolean,
  { startupFile, app }: ProgramOptions,
): FoundApplication | undefined {
  // What a rackup file is for Ruby: `app = "config/api.ru"`.
  const isRackup = app?.endsWith(".ru") === true;
  const file = startupFile ?? (isRackup ? app : undefined);
  const found = file === undefined ? undefined : findFile(directory, appType, hasNode, file);
  if (app === undefined || (isRackup && startupFile === undefined)) return found;
  const [, module, callable] = appPattern.exec(app) ?? [];
  if (module === undefined && callable === undefined) {
    throw new Error(`its app '${app}' is not of the form module:callable`);
  }
  if (found !== undefined && module !== undefined) {
    throw new Error(
      `its app '${app}' names a module, and there is a startup_file: write ':callable'`,
    );
  }
  const { loader: usual, ...program } = found ?? findModule(directory, module);
  const loader = appType === "auto" ? usual : appType;
  if (loader !== "wsgi" && loader !== "asgi" && loader !== "python") {
    throw new Error(`its app '${app}' is for Python, and its type is ${loader}: set startup_file`);
  }
  return { ...program, loader, app };
}

function findFile(
  directory: AppDirectory,
  appType: AppType,
  hasNode: boolean,
  file: string,
): FoundApplication {
  if (file.startsWith("/") || file.split("/").includes("..")) {
    throw new Error(`its startup file '${file}' leads out of the application`);
  }
  if (file === "manage.py") {
    throw new Error(djangoHint(directory, appType) ?? "manage.py cannot be read");
  }
  const startupFile = fromText(file);
  const found = directory.file(startupFile);
  if (typeof found === "string") {
    throw new Error(`its startup file '${file}' cannot be used: ${found}`);
  }
  return { loader: loaderOf(file, appType, hasNode), startupFile, owner: found.facts.uid };
}

function loaderOf(file: string, appType: AppType, hasNode: boolean): LoaderType {
  if (appType === "rails") return "rack";
  if (appType !== "auto") return appType;
  const loader = byExtension[file.slice(file.lastIndexOf(".") + 1)];
  if (loader === undefined) {
    throw new Error(`its startup file '${file}' does not say what runs it: set type`);
  }
  return loader === "node" && !hasNode ? "bun" : loader;
}

/** Its file, if it lies below the root; a library's belongs to whom the root belongs to. */
function findModule(directory: AppDirectory, module = ""): FoundApplication {
  if (module === "") {
    throw new Error("its app names no module, and there is no startup_file");
  }
  const path = module.replaceAll(".", "/");
  for (const file of [`${path}.py`, `${path}/__init__.py`]) {
    const startupFile = fromText(file);
    const found = directory.file(startupFile);
    if (typeof found !== "string") {
      return { loader: "python", startupFile, owner: found.facts.uid };
    }
  }
  return { loader: "wsgi", startupFile: fromText(""), owner: directory.itself.facts.uid };
}
