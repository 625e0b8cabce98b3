/**
 * errno: the numbers that are looked for by name, and the error every failed system call becomes.
 * Numbers are those of Linux on x64 and arm64 (errno(3)); the two agree.
 */

export const errnos = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  ENXIO: 6,
  EAGAIN: 11,
  EACCES: 13,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  EOPNOTSUPP: 95,
  ENOTCONN: 107,
  ETOOMANYREFS: 109,
  ECONNREFUSED: 111,
  EINPROGRESS: 115,
} as const;

let names: ReadonlyMap<number, string> | undefined;

/** The symbolic name of an errno value, `errno 999` for one that has none. */
export function errnoName(errno: number): string {
  names ??= allNames();
  return names.get(errno) ?? `errno ${errno}`;
}

/** With the first error: a start, which is not to load the module for it, has none. */
function allNames(): Map<number, string> {
  const { constants } = process.getBuiltinModule("node:os");
  // Of two names for a number the last counts.
  const all = [...Object.entries(constants.errno), ...Object.entries(errnos)];
  return new Map(all.map(([name, number]) => [number, name]));
}

/** A system call failed: `<call> on <what>: <ERRNO>`. */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  readonly errno: number;
  /** The symbolic name, for example `ECONNRESET`. */
  readonly code: string;

  constructor(call: string, what: string, errno: number) {
    super(`${call}${what === "" ? "" : ` on ${what}`}: ${errnoName(errno)}`);
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** What it returns; undefined when a system call fails: with that errno, if one is given. */
export function orUndefined<T>(action: () => T, errno?: number): T | undefined {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (errno !== undefined && error.errno !== errno) throw error;
    return undefined;
  }
}
