/** Which program an application is, and how it is started: some keys of `[[apps]]`. */
import { MAX_SPAWN_TIMEOUT_MS, type ReadinessOptions } from "../wire/configure.ts";
import { listenWays, whyNotArgs, whyNotProgramText, type ProgramOptions } from "../wire/program.ts";
import { commandWords } from "./command-words.ts";
import type { Table } from "./config-table.ts";

/** @param root of the application; where paths start from. */
export function readProgram(table: Table, root: string): ProgramOptions {
  const startupFile = readText(table, "startup_file");
  return {
    startupFile: startupFile === undefined ? undefined : belowRoot(table, root, startupFile),
    app: readText(table, "app"),
    args: readArgs(table),
    cwd: readText(table, "cwd"),
    interpreter: readText(table, "interpreter"),
    umask: table.has("umask") ? table.permissions("umask", "0027", "a mask") : undefined,
    envFile: readText(table, "env_file"),
    ...readCommand(table),
  };
}

/** When a process is ready. */
export function readReadiness(table: Table): ReadinessOptions {
  const readyPath = readText(table, "ready_path");
  const readyTimeoutMs = table.time("ready_timeout", { min: 1, max: MAX_SPAWN_TIMEOUT_MS }, 0);
  if (readyPath === undefined) {
    if (table.has("ready_timeout")) table.wrong("ready_timeout", "is for a 'ready_path'");
    return {};
  }
  if (!/^\/[!-~]*$/.test(readyPath)) {
    table.wrong("ready_path", `is '${readyPath}', not a path such as "/health"`);
  }
  return { readyPath, readyTimeoutMs: readyTimeoutMs === 0 ? undefined : readyTimeoutMs };
}

/** What only a program of any kind has: it is of type `command`. */
function readCommand(table: Table): Pick<ProgramOptions, "command" | "listen"> {
  const command = readWords(table);
  const listen = table.has("listen") ? table.word("listen", listenWays, "port") : undefined;
  if (command === undefined) {
    if (table.has("listen")) table.wrong("listen", "is for a command, and none is given");
    return {};
  }
  for (const key of ["startup_file", "app", "interpreter"]) {
    if (table.has(key)) table.wrong(key, "has no meaning beside a command, which says it all");
  }
  const used = ["port", "socket"].filter((word) => command.join(" ").includes(`{${word}}`));
  if (used.length > 1) table.wrong("command", "holds both {port} and {socket}");
  const [only = listen] = used;
  if (listen !== undefined && only !== listen) {
    table.wrong("listen", `is ${listen}, and the command holds {${only}}`);
  }
  if (listen === "socket" && used.length === 0) {
    table.wrong("listen", "is socket, and no {socket} in the command says where it is");
  }
  return { command, listen };
}

/** A list of words, or a text that is split. */
function readWords(table: Table): readonly string[] | undefined {
  const given = table.textOrTexts("command");
  if (given === undefined) return undefined;
  const words = typeof given === "string" ? commandWords(given) : given;
  const why = typeof words === "string" ? words : whyNotArgs(words);
  if (why !== undefined) table.wrong("command", why);
  else if (words[0] === "") table.wrong("command", "names no program");
  return typeof words === "string" ? undefined : words;
}

function readText(table: Table, key: string): string | undefined {
  const text = table.text(key);
  if (text === undefined) return undefined;
  const why = text === "" ? "is empty: leave it out" : whyNotProgramText(text);
  if (why === undefined) return text;
  table.wrong(key, why);
  return undefined;
}

function belowRoot(table: Table, root: string, file: string): string {
  const relative = file.startsWith(`${root}/`) ? file.slice(root.length + 1) : file;
  if (relative.startsWith("/") || relative.split("/").includes("..")) {
    table.wrong("startup_file", `'${file}' is not below the root`);
  }
  return relative;
}

function readArgs(table: Table): readonly string[] | undefined {
  if (!table.has("args")) return undefined;
  const args = table.texts("args", 0);
  const why = whyNotArgs(args);
  if (why !== undefined) table.wrong("args", why);
  return args;
}
