/**
 * Those options of `configure` that say which program an application is, and how it is started.
 * Without them its files say so by their names. Only the built-in spawner heeds them.
 */

/** Paths are relative to the root unless they begin with a slash. */
export interface ProgramOptions {
  /** The file that starts it, below the root. */
  readonly startupFile?: string | undefined;
  /** Of Python, `module:callable`; `:callable` of the startup file. */
  readonly app?: string | undefined;
  /** What the program gets as its arguments. */
  readonly args?: readonly string[] | undefined;
  /** Its working directory; absent: the root. */
  readonly cwd?: string | undefined;
  /**
   * What runs it: a program (looked up on PATH if it has no slash), or a directory that has it in
   * `bin`, as a virtual environment of Python.
   */
  readonly interpreter?: string | undefined;
  /** Permissions that files it makes do not get (umask(2)); absent: as the server's. */
  readonly umask?: number | undefined;
  /** A file of variables, `NAME=value` in each line; read at each start. */
  readonly envFile?: string | undefined;
  /**
   * Of type `command`: the program and its arguments. `{port}`, `{host}` and `{socket}` in them are
   * filled in.
   */
  readonly command?: readonly string[] | undefined;
  /** Where it is to listen; absent: on a socket if `{socket}` is in its command, else on a port. */
  readonly listen?: ListenWay | undefined;
}

/** How a program is told where to listen: PORT and HOST, a path, or a socket that it inherits. */
type ListenWay = "port" | "socket" | "inherit";

export const listenWays: readonly ListenWay[] = ["port", "socket", "inherit"];

/** As long as a path may be (PATH_MAX of limits.h, with its NUL). */
const MAX_PROGRAM_TEXT_BYTES = 4095;
/** Arguments, and their bytes in all: a shell's command line is shorter. */
const MAX_ARGS = 1_000;
const MAX_ARGS_BYTES = 32 * 1024;
export const MAX_UMASK = 0o777;

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
