/**
 * A look at a name that never waits for a file system: the kernel answers from what it remembers,
 * or says that it would have to ask (openat2(2) RESOLVE_CACHED, Linux 5.12; statx(2)
 * AT_STATX_DONT_SYNC). On local disks it remembers nearly always, also that there is nothing; on
 * tmpfs, NFS and FUSE it does not remember that. Older kernels look as ever.
 */
import { constants } from "node:fs";
import { dirname } from "node:path";

import { errnos } from "./errno.ts";
import { openAt } from "./fd.ts";
import { C, statx } from "./layout.ts";
import { address, arenaView, checked, cPath, errno, libc, reserve } from "./libc.ts";
import { isLocalDevice, kindOfMount, mayFilesHang, type MountKind } from "./mounts.ts";

const facts = reserve(statx.size);

export interface Found {
  readonly isLink: boolean;
  /** Time of change in nanoseconds. */
  readonly changedNs: bigint;
  readonly diskBytes: number;
  /** `major:minor` of the file system's device. */
  readonly device: string;
}

let canAskCache = true;

/**
 * Whether there is nothing by that name, or nothing that we may see; a link at its end is
 * something. Cheaper than lookNow, and may wait as that: readlink(2) takes no lock, no descriptor.
 * @throws RangeError when it cannot be a path.
 */
export function isAbsent(path: string): boolean {
  if (libc.readlink(cPath(path), address(facts), statx.size) >= 0) return false;
  return errno() !== errnos.EINVAL; // Not a link, but something.
}

/** Whether a link at the end of the path is looked at itself, or what it leads to. */
type Follow = "link" | "target";

/** As lookNow, and `unknown` when that could wait. */
export function lookCached(path: string, follow: Follow): Found | "absent" | "unknown" {
  if (!canAskCache) return lookNow(path, follow);
  const fd = openName(path, follow, C.RESOLVE_CACHED);
  if (fd >= 0) return factsOf(fd);
  const cause = errno();
  if (cause === errnos.EAGAIN) return "unknown";
  // EPERM: a filter for system calls that does not know this one.
  canAskCache = ![errnos.EINVAL, errnos.ENOSYS, errnos.EPERM].some((code) => code === cause);
  return canAskCache ? "absent" : lookNow(path, follow);
}

/** As lookCached, and as lookNow where no file that may hang is mounted. */
export function lookWithoutWaiting(path: string, follow: Follow): Found | "absent" | "unknown" {
  const found = lookCached(path, follow);
  return found === "unknown" && !mayFilesHang() ? lookNow(path, follow) : found;
}

/**
 * Whether there is surely nothing by that name, which never waits: the kernel remembers that, or
 * remembers a directory above on a disk of this machine, where looking takes no time.
 */
export function isSurelyAbsent(path: string): boolean {
  const found = lookCached(path, "target");
  if (found !== "unknown") return found === "absent";
  const above = lookCached(dirname(path), "target");
  if (above === "unknown" || above === "absent") return isSurelyAbsent(dirname(path));
  return isLocalDevice(above.device) && isAbsent(path);
}

/**
 * What a name means; `absent`: nothing that we may see, or no descriptor is free to look with. May
 * wait for the file system. @throws RangeError when it cannot be a path.
 */
function lookNow(path: string, follow: Follow): Found | "absent" {
  const fd = openName(path, follow, 0);
  return fd >= 0 ? factsOf(fd) : "absent";
}

/** Never by the links of processes (proc(5)): they lead to mounts that no table of ours has. */
function openName(path: string, follow: Follow, resolve: number): number {
  const flags = C.O_PATH | (follow === "link" ? C.O_NOFOLLOW : 0);
  return openAt(C.AT_FDCWD, path, flags, resolve | C.RESOLVE_NO_MAGICLINKS);
}

/** On what an open file lies; never waits. On a mount that is gone, nobody can tell. */
export function mountKindOf(fd: number): MountKind {
  statxOf(fd, C.STATX_MNT_ID);
  if ((arenaView.getUint32(facts + statx.mask, true) & C.STATX_MNT_ID) !== 0) {
    return kindOfMount(Number(arenaView.getBigUint64(facts + statx.mountId, true))) ?? "user's";
  }
  return isLocalDevice(deviceOf()) ? "local" : "remote"; // Before Linux 5.8.
}

function statxOf(fd: number, wanted: number): void {
  const flags = C.AT_EMPTY_PATH | C.AT_STATX_DONT_SYNC;
  const result = libc.syscall(C.SYS_STATX, fd, cPath(""), flags, wanted, address(facts));
  checked(result, "statx", `fd ${fd}`);
}

function deviceOf(): string {
  const major = arenaView.getUint32(facts + statx.deviceMajor, true);
  const minor = arenaView.getUint32(facts + statx.deviceMinor, true);
  return `${major}:${minor}`;
}

/** Takes the descriptor over. */
function factsOf(fd: number): Found {
  try {
    statxOf(fd, C.STATX_TYPE | C.STATX_MTIME | C.STATX_BLOCKS);
  } finally {
    libc.close(fd);
  }
  const seconds = arenaView.getBigInt64(facts + statx.mtimeSeconds, true);
  const nanoseconds = BigInt(arenaView.getUint32(facts + statx.mtimeNanoseconds, true));
  const blocks = arenaView.getBigUint64(facts + statx.blocks, true);
  const type = arenaView.getUint16(facts + statx.mode, true) & constants.S_IFMT;
  return {
    isLink: type === constants.S_IFLNK,
    changedNs: seconds * 1_000_000_000n + nanoseconds,
    diskBytes: Number(blocks) * 512,
    device: deviceOf(),
  };
}
