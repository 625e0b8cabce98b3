/**
 * Opens files below a directory and nowhere else: the kernel resolves the path, and refuses one
 * that leaves the directory by `..`, by a link, or while somebody exchanges a component. Manual
 * page: openat2(2), Linux 5.6.
 */
import { errnos, SyscallError } from "./errno.ts";
import { openAt } from "./fd.ts";
import { C } from "./layout.ts";
import { errno } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

/** Nothing there, nothing for us, or not below: no difference to whoever asks. */
const refusals: ReadonlySet<number> = new Set([
  errnos.ENOENT,
  errnos.ENOTDIR,
  errnos.EACCES,
  errnos.ENAMETOOLONG,
  errnos.ENXIO,
  errnos.EAGAIN,
]);

/**
 * Opens a file for reading; does not wait for a FIFO's other end.
 * @param directory an open directory. @param path as bytes, relative. @returns `link` when there is
 * one on the way, or a mount, or it leads out; undefined when there is nothing that may be opened.
 * @throws SyscallError when there is another reason: too many open files, an older kernel.
 */
export function openBeneath(directory: number, path: string): OwnedFd | "link" | undefined {
  const resolve = C.RESOLVE_BENEATH | C.RESOLVE_NO_SYMLINKS | C.RESOLVE_NO_XDEV;
  const fd = openAt(directory, path, C.O_RDONLY | C.O_NONBLOCK, resolve);
  if (fd >= 0) return new OwnedFd(fd);
  const cause = errno();
  if (cause === errnos.ELOOP || cause === errnos.EXDEV) return "link";
  if (refusals.has(cause)) return undefined;
  throw new SyscallError("openat2", path, cause);
}
