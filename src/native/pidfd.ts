/**
 * Processes that are not our children, by descriptor: their parent may reap them at any moment, and
 * then the number can be another's; a pidfd never is. Manual pages: pidfd_open(2),
 * pidfd_send_signal(2).
 */
import { errnos, SyscallError } from "./errno.ts";
import { canRead } from "./fd.ts";
import { C } from "./layout.ts";
import { errno, libc } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";
import { sendSignal } from "./process.ts";
import { statOf } from "./process-stat.ts";

/** A pidfd; undefined when there is no such process. */
export function openPidfd(pid: number): OwnedFd | undefined {
  const fd = Number(libc.syscall(C.SYS_PIDFD_OPEN, pid, 0, 0, 0, 0));
  if (fd >= 0) return new OwnedFd(fd);
  const cause = errno();
  if (cause === errnos.ESRCH) return undefined;
  throw new SyscallError("pidfd_open", `process ${pid}`, cause);
}

/** Whether the process has ended, reaped or not. */
export function hasEnded(pidfd: number): boolean {
  return canRead(pidfd);
}

/** Signals the process. @returns false when it is gone. */
export function sendPidfdSignal(pidfd: number, signal: number): boolean {
  return send(pidfd, signal, 0) === "sent";
}

/**
 * Signals the whole process group that the process leads or, if it has ended, has led: by its pidfd
 * never a stranger's. @returns false when the group is gone.
 * @param pid its number, for kernels before 6.9, which cannot do that by pidfd.
 */
export function sendPidfdGroupSignal(pidfd: number, pid: number, signal: number): boolean {
  const result = send(pidfd, signal, C.PIDFD_SIGNAL_PROCESS_GROUP);
  if (result !== "unknown flag") return result === "sent";
  // The number stays its own until it is reaped, and its group's while that has members. Only a
  // process of that number could have made another group of it.
  const isOurs = !hasEnded(pidfd) || (statOf(pid)?.hasEnded ?? true);
  return isOurs && sendSignal(-pid, signal);
}

function send(pidfd: number, signal: number, flags: number): "sent" | "gone" | "unknown flag" {
  if (Number(libc.syscall(C.SYS_PIDFD_SEND_SIGNAL, pidfd, signal, 0, flags, 0)) === 0) {
    return "sent";
  }
  const cause = errno();
  if (cause === errnos.ESRCH) return "gone";
  if (cause === errnos.EINVAL && flags !== 0) return "unknown flag";
  throw new SyscallError("pidfd_send_signal", `pidfd ${pidfd}`, cause);
}
