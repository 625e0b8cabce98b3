/** Pipes: pipe(2). */
import { SyscallError } from "./errno.ts";
import { C } from "./layout.ts";
import { address, arenaView, errno, libc, reserve } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

const pipeOffset = reserve(8);

/** A pipe, close-on-exec, both ends blocking. */
export function makePipe(): { readEnd: OwnedFd; writeEnd: OwnedFd } {
  if (libc.pipe2(address(pipeOffset), C.O_CLOEXEC) < 0)
    throw new SyscallError("pipe2", "", errno());
  return {
    readEnd: new OwnedFd(arenaView.getInt32(pipeOffset, true)),
    writeEnd: new OwnedFd(arenaView.getInt32(pipeOffset + 4, true)),
  };
}
