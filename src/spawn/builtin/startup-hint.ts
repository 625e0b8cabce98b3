/**
 * What to set where no file says by its name how an application is started: a Django project, what
 * a build has put into the place of its framework, what package.json starts. Only for the text of
 * an error: nothing is started because of it, since a project may have several such files, and old
 * ones.
 */
import type { AppType } from "../../wire/app-request.ts";
import { ascii, fromText } from "../../wire/bytes.ts";
import type { AppDirectory } from "./app-directory.ts";

/** Where frameworks and compilers put what they build. */
const built = [
  "dist/server/entry.mjs", // Astro
  ".output/server/index.mjs", // Nitro, Nuxt
  "build/index.js", // SvelteKit
  ".next/standalone/server.js", // Next
  "dist/main.js", // Nest
  "dist/index.js",
  "dist/server.js",
  "build/server.js",
];
/** Where Python's frameworks have their examples. */
const pythonFiles = ["app.py", "main.py"];
const maxBytes = 64 * 1024;

/** `; set …`, or nothing. */
export function startupHint(directory: AppDirectory, appType: AppType): string {
  const hint =
    djangoHint(directory, appType) ??
    builtHint(directory) ??
    pythonHint(directory) ??
    filesHint(directory);
  return hint === undefined ? "" : `; ${hint}`;
}

/** Of a Django project what is its application; undefined: it is none. */
export function djangoHint(directory: AppDirectory, appType: AppType): string | undefined {
  const text = directory.read(ascii("manage.py"), maxBytes);
  if (text instanceof Error) return undefined;
  const [, settings] = /DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)["']/.exec(text) ?? [];
  const project = settings?.replace(/\.settings\b.*/, "") ?? "mysite";
  const module = appType === "asgi" ? "asgi" : "wsgi";
  return `manage.py starts no application: set app = "${project}.${module}:application"`;
}

function builtHint(directory: AppDirectory): string | undefined {
  const started = startedByPackage(directory);
  const files = new Set([...(started === undefined ? [] : [started]), ...built]);
  const there = [...files].filter((file) => isFile(directory, file));
  if (there.length === 0) return undefined;
  return `set startup_file = ${there.map((file) => `"${file}"`).join(" or ")}, which is there`;
}

/** `"start": "NODE_ENV=production node --trace build/server.mjs"`. */
const startScript =
  /"start"\s*:\s*"(?:\w+=\S+ )*(?:node|bun|bun run) (?:-\S+ )*([\w@./-]+\.[cm]?[jt]s)\b/;

function startedByPackage(directory: AppDirectory): string | undefined {
  const text = directory.read(ascii("package.json"), maxBytes);
  if (text instanceof Error) return undefined;
  const file = startScript.exec(text)?.[1]?.replace(/^\.\//, "");
  return file === undefined || file.startsWith("/") || file.includes("..") ? undefined : file;
}

function pythonHint(directory: AppDirectory): string | undefined {
  const file = pythonFiles.find((name) => isFile(directory, name));
  if (file === undefined) return undefined;
  return `if ${file} has an application of Python's, set app = "${file.slice(0, -3)}"`;
}

function filesHint(directory: AppDirectory): string | undefined {
  const file = ["public/index.html", "index.html"].find((name) => isFile(directory, name));
  if (file === undefined) return undefined;
  return `${file} is there: if files are all there is, set type = "static"`;
}

function isFile(directory: AppDirectory, file: string): boolean {
  return typeof directory.file(fromText(file)) !== "string";
}
