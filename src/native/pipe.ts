/** Pipes and FIFOs: pipe(2), write(2), pipe(7). */
import { errnos, SyscallError } from "./errno.ts";
import { C } from "./layout.ts";
import { address, arenaBytes, arenaView, checked, errno, libc, reserve } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

const pairOffset = reserve(8);
const countOffset = reserve(4);
/** Bytes one write moves at most. */
const dataRoom = 16 * 1024;
const dataOffset = reserve(dataRoom);

/** A pipe, close-on-exec, both ends blocking. */
export function makePipe(): { readEnd: OwnedFd; writeEnd: OwnedFd } {
  checked(libc.pipe2(address(pairOffset), C.O_CLOEXEC), "pipe2");
  return {
    readEnd: new OwnedFd(arenaView.getInt32(pairOffset, true)),
    writeEnd: new OwnedFd(arenaView.getInt32(pairOffset + 4, true)),
  };
}

/** Bytes written to a pipe and not yet read (ioctl FIONREAD, pipe(7)); asked at either end. */
export function unreadBytes(pipe: number): number {
  checked(libc.ioctl(pipe, C.FIONREAD, address(countOffset)), "ioctl FIONREAD", `fd ${pipe}`);
  return arenaView.getInt32(countOffset, true);
}

/**
 * One write(2) of as much as the arena holds. @returns bytes written, 0 when a non-blocking
 * descriptor takes none.
 * @throws SyscallError: EPIPE, ENOSPC and the rest.
 */
export function writeSome(fd: number, data: Uint8Array): number {
  const piece = data.length > dataRoom ? data.subarray(0, dataRoom) : data;
  arenaBytes.set(piece, dataOffset);
  const count = Number(libc.write(fd, address(dataOffset), piece.length));
  if (count >= 0) return count;
  const cause = errno();
  if (cause === errnos.EAGAIN || cause === errnos.EINTR) return 0;
  throw new SyscallError("write", `fd ${fd}`, cause);
}
