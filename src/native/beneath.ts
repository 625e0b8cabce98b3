/**
 * Opens files below a directory and nowhere else: the kernel resolves the path, and refuses one
 * that leaves the directory by `..`, by an absolute link, or while somebody exchanges a component.
 * Links that stay below are followed. Manual page: openat2(2), Linux 5.6.
 */
import { errnos, SyscallError } from "./errno.ts";
import { C, openHow } from "./layout.ts";
import { address, cPath, errno, libc, putSize, reserve } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

/** `read` does not wait for a FIFO's other end; `directory` gives no access to its content. */
export type BeneathMode = "read" | "directory";

const flags: Readonly<Record<BeneathMode, number>> = {
  read: C.O_RDONLY | C.O_NONBLOCK | C.O_CLOEXEC,
  directory: C.O_PATH | C.O_DIRECTORY | C.O_CLOEXEC,
};

/** Nothing there, nothing for us, or not below: no difference to whoever asks. */
const refusals: ReadonlySet<number> = new Set([
  errnos.ENOENT,
  errnos.ENOTDIR,
  errnos.EACCES,
  errnos.EXDEV,
  errnos.ELOOP,
  errnos.ENAMETOOLONG,
  errnos.ENXIO,
  errnos.EAGAIN,
]);

const how = reserve(openHow.size);

/**
 * @param directory an open directory. @param path as bytes, relative. @returns undefined when there
 * is nothing that may be opened. @throws SyscallError when there is another reason: too many open
 * files, an older kernel.
 */
export function openBeneath(
  directory: number,
  path: string,
  mode: BeneathMode,
): OwnedFd | undefined {
  putSize(how + openHow.flags, flags[mode]);
  putSize(how + openHow.resolve, C.RESOLVE_BENEATH | C.RESOLVE_NO_MAGICLINKS);
  const name = cPath(path);
  const result = libc.syscall(C.SYS_OPENAT2, directory, name, address(how), openHow.size);
  const fd = Number(result);
  if (fd >= 0) return new OwnedFd(fd);
  const cause = errno();
  if (refusals.has(cause)) return undefined;
  throw new SyscallError("openat2", path, cause);
}
