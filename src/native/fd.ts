/**
 * What can be asked of any descriptor: its flags, duplicates, opening by path, reading what is
 * ready. Manual pages: fcntl(2), open(2), getsockopt(2), poll(2).
 */
import { errnos, SyscallError } from "./errno.ts";
import { C, openHow, pollfd } from "./layout.ts";
import { address, arenaView, checked, cPath, errno, libc, putSize, reserve } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

function fcntl(fd: number, command: number, argument: number, name: string): number {
  const result = libc.fcntl(fd, command, argument);
  if (result < 0) throw new SyscallError(`fcntl ${name}`, `fd ${fd}`, errno());
  return result;
}

/** Sets or clears O_NONBLOCK of the open file description (everyone who shares it is affected). */
export function setNonBlocking(fd: number, on: boolean): void {
  const flags = fcntl(fd, C.F_GETFL, 0, "F_GETFL");
  const wanted = on ? flags | C.O_NONBLOCK : flags & ~C.O_NONBLOCK;
  if (wanted !== flags) fcntl(fd, C.F_SETFL, wanted, "F_SETFL");
}

/** Sets close-on-exec: for descriptors that were inherited, all others are born with it. */
export function setCloseOnExec(fd: number, on: boolean): void {
  fcntl(fd, C.F_SETFD, on ? C.FD_CLOEXEC : 0, "F_SETFD");
}

/** Device and inode: what tells a file from another that comes to have its name. */
export function identityOf(fd: number): string {
  // Loading it takes a millisecond, for which a parent that starts us need not wait.
  const { fstatSync } = process.getBuiltinModule("node:fs");
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}`;
}

/** Whether the number is an open descriptor. */
export function isOpen(fd: number): boolean {
  return libc.fcntl(fd, C.F_GETFD, 0) >= 0;
}

/**
 * Asks for SIGIO in this process whenever the description becomes readable, writable or hangs up
 * (fcntl(2) F_SETOWN, O_ASYNC). Only for descriptions nobody else shares.
 */
export function enableSigio(fd: number): void {
  fcntl(fd, C.F_SETOWN, process.pid, "F_SETOWN");
  const flags = fcntl(fd, C.F_GETFL, 0, "F_GETFL");
  fcntl(fd, C.F_SETFL, flags | C.O_ASYNC | C.O_NONBLOCK, "F_SETFL");
}

/** A close-on-exec duplicate. */
export function duplicate(fd: number): OwnedFd {
  return new OwnedFd(fcntl(fd, C.F_DUPFD_CLOEXEC, 0, "F_DUPFD_CLOEXEC"));
}

type OpenMode = "read" | "append" | "create" | "path" | "directory";

const openFlags: Readonly<Record<OpenMode, number>> = {
  read: C.O_RDONLY,
  append: C.O_WRONLY | C.O_CREAT | C.O_APPEND,
  create: C.O_WRONLY | C.O_CREAT | C.O_EXCL | C.O_APPEND,
  path: C.O_PATH | C.O_NOFOLLOW,
  directory: C.O_PATH | C.O_DIRECTORY,
};

/**
 * Opens a path given as bytes, close-on-exec and non-blocking (a FIFO or device without a peer must
 * not hold us). `create` is `append` to a file that there must not be, nor a link. `path` opens the
 * name itself (O_PATH, no symbolic link) and gives no access to the content; `directory` opens the
 * directory that the name means, links followed, for use in paths below /proc/self/fd.
 * @param permissions of a file that is made.
 */
export function open(path: string, mode: OpenMode, permissions = 0o644): OwnedFd {
  const nonBlocking = mode === "path" || mode === "directory" ? 0 : C.O_NONBLOCK;
  const fd = libc.open(cPath(path), openFlags[mode] | C.O_CLOEXEC | nonBlocking, permissions);
  return new OwnedFd(checked(fd, "open", path));
}

const how = reserve(openHow.size);

/**
 * Opens a path below an open directory, resolved as `resolve` says (openat2(2)).
 * @returns a descriptor; below 0: errno says why there is none.
 */
export function openAt(directory: number, path: string, flags: number, resolve: number): number {
  putSize(how + openHow.flags, flags | C.O_CLOEXEC);
  putSize(how + openHow.resolve, resolve);
  const name = cPath(path);
  return Number(libc.syscall(C.SYS_OPENAT2, directory, name, address(how), openHow.size, 0));
}

/** Deletes a name. @returns `absent`: no such file or directory; a number: why not (errno). */
export function unlink(path: string): "deleted" | "absent" | number {
  if (libc.unlink(cPath(path)) === 0) return "deleted";
  const cause = errno();
  return cause === errnos.ENOENT || cause === errnos.ENOTDIR ? "absent" : cause;
}

/** Most descriptors one poll call is given; more are asked in turns. */
const pollRoom = 1024;
const pollOffset = reserve(pollRoom * pollfd.size);

/** Which of them, by index, report an error, a hang-up or invalidity now (poll(2), no wait). */
export function findBroken(fds: readonly number[]): number[] {
  const broken: number[] = [];
  for (let start = 0; start < fds.length; start += pollRoom) {
    const count = Math.min(pollRoom, fds.length - start);
    for (let i = 0; i < count; i += 1) {
      const at = pollOffset + i * pollfd.size;
      arenaView.setInt32(at + pollfd.fd, fds[start + i] ?? -1, true);
      arenaView.setUint32(at + pollfd.events, 0, true);
    }
    if (libc.poll(address(pollOffset), count, 0) <= 0) continue;
    for (let i = 0; i < count; i += 1) {
      const revents = arenaView.getInt16(pollOffset + i * pollfd.size + pollfd.revents, true);
      if ((revents & (C.POLLERR | C.POLLHUP | C.POLLNVAL)) !== 0) broken.push(start + i);
    }
  }
  return broken;
}

/** Whether a write would not wait (poll(2)); of a pipe: of up to PIPE_BUF bytes (pipe(7)). */
export function canWrite(fd: number): boolean {
  return isReady(fd, C.POLLOUT);
}

/** Whether a read would not wait (poll(2)); for a pidfd: whether its process has ended. */
export function canRead(fd: number): boolean {
  return isReady(fd, C.POLLIN);
}

function isReady(fd: number, event: number): boolean {
  arenaView.setInt32(pollOffset + pollfd.fd, fd, true);
  arenaView.setUint32(pollOffset + pollfd.events, event, true);
  if (libc.poll(address(pollOffset), 1, 0) <= 0) return false;
  return (arenaView.getInt16(pollOffset + pollfd.revents, true) & event) !== 0;
}
