/** Files in memory, which nobody else can find (memfd_create(2)). */
import { writeSync } from "node:fs";

import { SyscallError } from "./errno.ts";
import { C } from "./layout.ts";
import { cPath, errno, libc } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

/** One with this text, close-on-exec. @throws SyscallError. */
export function fileInMemory(text: string): OwnedFd {
  const fd = Number(libc.syscall(C.SYS_MEMFD_CREATE, Number(cPath("")), C.MFD_CLOEXEC, 0, 0, 0));
  if (fd < 0) throw new SyscallError("memfd_create", "", errno());
  const file = new OwnedFd(fd);
  writeSync(fd, text);
  return file;
}
