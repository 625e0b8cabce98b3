/** File to socket without a way through our memory. Manual page: sendfile(2). */
import { FFIType } from "bun:ffi";

import { errnos, SyscallError } from "./errno.ts";
import { address, errno, loadFunctions, putWord, reserve } from "./libc.ts";

const functions = loadFunctions({
  sendfile: { args: ["i32", "i32", "ptr", "u64"], returns: FFIType.i64_fast },
});

const offsetAt = reserve(8);
const offsetAddress = address(offsetAt);

/**
 * Sends a part of a file on a non-blocking socket; the file's own position does not matter and does
 * not change. @returns bytes sent, 0 where the file ends before; `full`: the socket takes none now;
 * `unsupported`: not from this file. @throws SyscallError: EPIPE, ECONNRESET, EIO and the rest.
 */
export function sendFile(
  socket: number,
  file: number,
  offset: number,
  maxBytes: number,
): number | "full" | "unsupported" {
  for (;;) {
    putWord(offsetAt, offset);
    const sent = functions.sendfile(socket, file, offsetAddress, maxBytes);
    if (sent >= 0) return Number(sent);
    const cause = errno();
    if (cause === errnos.EINTR) continue;
    if (cause === errnos.EAGAIN) return "full";
    if (cause === errnos.EINVAL) return "unsupported";
    throw new SyscallError("sendfile", `fd ${socket}`, cause);
  }
}
