/**
 * Who listens at the other end of a connected Unix socket: the process that called listen(2)
 * (SO_PEERCRED) and the name it bound (getpeername(2)). The kernel vouches for both, however often
 * the name in the file system was replaced since.
 */
import { errno, address, arenaBytes, arenaView, libc, reserve } from "./libc.ts";
import { C, sockaddrUn } from "./layout.ts";
import { SyscallError } from "./errno.ts";

const lengthOffset = reserve(4);
/** struct ucred: pid, uid, gid. */
const credentialsSize = 12;
const credentialsOffset = reserve(credentialsSize);
const nameOffset = reserve(sockaddrUn.size);
/** Addresses the hot path would compute anew each time. */
const lengthAddress = address(lengthOffset);
const credentialsAddress = address(credentialsOffset);
const nameAddress = address(nameOffset);

/** A listener, remembered; compare with isSameListener. */
export interface ListenerIdentity {
  readonly pid: number;
  readonly uid: number;
  readonly name: Uint8Array;
}

/** Asks the kernel; the answer is in the arena. @returns the length of the name. */
function ask(fd: number): number {
  peerPid(fd);
  arenaView.setInt32(lengthOffset, sockaddrUn.size, true);
  if (libc.getpeername(fd, nameAddress, lengthAddress) < 0) {
    throw new SyscallError("getpeername", `fd ${fd}`, errno());
  }
  return Math.min(arenaView.getInt32(lengthOffset, true), sockaddrUn.size);
}

/** The listener a stream was accepted by; undefined: in another pid namespace (pid 0). */
export function listenerOf(fd: number): ListenerIdentity | undefined {
  const length = ask(fd);
  const pid = arenaView.getInt32(credentialsOffset, true);
  if (pid === 0) return undefined;
  const uid = arenaView.getUint32(credentialsOffset + 4, true);
  return { pid, uid, name: arenaBytes.slice(nameOffset, nameOffset + length) };
}

/** Whether the listener accepted a stream; the hot path of `get`: nothing is allocated. */
export function isSameListener(fd: number, listener: ListenerIdentity): boolean {
  const { name, pid, uid } = listener;
  if (ask(fd) !== name.length) return false;
  if (arenaView.getInt32(credentialsOffset, true) !== pid) return false;
  if (arenaView.getUint32(credentialsOffset + 4, true) !== uid) return false;
  for (let i = 0; i < name.length; i += 1) {
    if (arenaBytes[nameOffset + i] !== name[i]) return false;
  }
  return true;
}

/** The process at the other end, of a pair its maker; 0: in another pid namespace. */
export function peerPid(fd: number): number {
  arenaView.setInt32(lengthOffset, credentialsSize, true);
  if (libc.getsockopt(fd, C.SOL_SOCKET, C.SO_PEERCRED, credentialsAddress, lengthAddress) < 0) {
    throw new SyscallError("getsockopt SO_PEERCRED", `fd ${fd}`, errno());
  }
  return arenaView.getInt32(credentialsOffset, true);
}

/** The user at the other end. @throws SyscallError. */
export function peerUser(fd: number): number {
  peerPid(fd);
  return arenaView.getUint32(credentialsOffset + 4, true);
}
