/**
 * Files without a name, for their owner alone: the kernel frees them when the descriptor is closed,
 * also when the process is killed. Manual page: open(2), O_TMPFILE.
 */
import { errnos, SyscallError } from "./errno.ts";
import { C } from "./layout.ts";
import { checked, cPath, errno, libc } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

/** What file systems and kernels say that have no O_TMPFILE. */
const unsupported: ReadonlySet<number> = new Set([
  errnos.EOPNOTSUPP,
  errnos.EISDIR,
  errnos.EINVAL,
  errnos.ENOENT,
]);

/**
 * A new empty file for reading and writing, close-on-exec, that nobody else can open.
 * @param directory as bytes. @param form `named`: as where there are none without a name.
 * @throws SyscallError: ENOENT, EACCES, ENOSPC, EMFILE and the rest.
 */
export function openTemporary(directory: string, form: "unnamed" | "named" = "unnamed"): OwnedFd {
  if (form === "unnamed") {
    // O_EXCL: it can be given no name later either.
    const flags = C.O_TMPFILE | C.O_RDWR | C.O_EXCL | C.O_CLOEXEC;
    const fd = libc.open(cPath(directory), flags, 0o600);
    if (fd >= 0) return new OwnedFd(fd);
    const cause = errno();
    if (!unsupported.has(cause)) throw new SyscallError("open a temporary file", directory, cause);
  }
  return openAndUnlink(directory);
}

function openAndUnlink(directory: string): OwnedFd {
  const flags = C.O_CREAT | C.O_EXCL | C.O_RDWR | C.O_NOFOLLOW | C.O_CLOEXEC;
  // Nobody guesses it.
  const path = `${directory}/pool-server.${crypto.randomUUID()}`;
  const fd = checked(libc.open(cPath(path), flags, 0o600), "open a temporary file", directory);
  libc.unlink(cPath(path));
  return new OwnedFd(fd);
}
