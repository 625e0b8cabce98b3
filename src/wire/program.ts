/**
 * Those options of `configure` that say which program an application is, and how it is started.
 * Without them its files say so by their names. Only the built-in spawner heeds them.
 */
import { type OptionsOf, someText, taking, whole, word } from "./option-readers.ts";

/** How a program is told where to listen: PORT and HOST, a path, or a socket that it inherits. */
export const listenWays = ["port", "socket", "inherit"] as const;

/** As long as a path may be (PATH_MAX of limits.h, with its NUL). */
const MAX_PROGRAM_TEXT_BYTES = 4095;
/** Arguments, and their bytes in all: a shell's command line is shorter. */
const MAX_ARGS = 1_000;
const MAX_ARGS_BYTES = 32 * 1024;
export const MAX_UMASK = 0o777;

const programText = someText("not a text", whyNotProgramText);
const programArgs = taking<readonly string[]>(
  (value) => Array.isArray(value) && value.every((item) => typeof item === "string"),
  "not a list of texts",
  whyNotArgs,
);

/** Paths are relative to the root unless they begin with a slash. */
export const programReaders = {
  /** The file that starts it, below the root. */
  startupFile: programText,
  /** Of Python, `module:callable`; `:callable` of the startup file. */
  app: programText,
  /** What the program gets as its arguments. */
  args: programArgs,
  /** Its working directory; absent: the root. */
  cwd: programText,
  /**
   * What runs it: a program (looked up on PATH if it has no slash), or a directory that has it in
   * `bin`, as a virtual environment of Python.
   */
  interpreter: programText,
  /** Permissions that files it makes do not get (umask(2)); absent: as the server's. */
  umask: whole(0, MAX_UMASK),
  /** A file of variables, `NAME=value` in each line; read at each start. */
  envFile: programText,
  /** Of type `command`: the program and its arguments, `{port}`, `{host}`, `{socket}` filled in. */
  command: programArgs,
  /** Where it is to listen; absent: on a socket if `{socket}` is in its command, else on a port. */
  listen: word(listenWays),
};

export type ProgramOptions = OptionsOf<typeof programReaders>;

/** Why a text cannot be a path, a name or an argument; undefined: it can. */
export function whyNotProgramText(text: string): string | undefined {
  if (text.includes("\0") || !text.isWellFormed()) return "holds a NUL or half a character";
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_PROGRAM_TEXT_BYTES) {
    return `has ${bytes} bytes, ${MAX_PROGRAM_TEXT_BYTES} at most`;
  }
  return undefined;
}

/** Why texts cannot be a program's arguments; undefined: they can. */
export function whyNotArgs(args: readonly string[]): string | undefined {
  if (args.length > MAX_ARGS) return `are ${args.length}, ${MAX_ARGS} at most`;
  if (args.some((text) => text.includes("\0") || !text.isWellFormed())) {
    return "hold a NUL or half a character";
  }
  const bytes = args.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0);
  return bytes > MAX_ARGS_BYTES ? `have ${bytes} bytes, ${MAX_ARGS_BYTES} at most` : undefined;
}
