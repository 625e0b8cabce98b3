/** Files in memory, which nobody else can find (memfd_create(2)). */
import { writeSync } from "node:fs";

import { C } from "./layout.ts";
import { checked, cPath, libc } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

/** One with this text, close-on-exec. @throws SyscallError. */
export function fileInMemory(text: string): OwnedFd {
  const fd = libc.syscall(C.SYS_MEMFD_CREATE, Number(cPath("")), C.MFD_CLOEXEC, 0, 0, 0);
  const file = new OwnedFd(checked(fd, "memfd_create"));
  writeSync(file.number, text);
  return file;
}
