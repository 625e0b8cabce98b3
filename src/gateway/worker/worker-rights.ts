/**
 * What a worker gives up before it reads the first byte of a stranger, once all it needs is open:
 * listeners, certificates, log. What has taken it over then has what it holds, and the rights of a
 * user that owns nothing.
 */
import { SyscallError } from "../../native/errno.ts";
import { becomeUser, findUser } from "../../native/process.ts";
import { refuseSystemCalls } from "../../native/seccomp.ts";

/**
 * For good. @param userName whom to become; undefined: nobody else. @param wake the socket to the
 * pool server, which all workers share. @returns why there is no fence (seccomp), if there is none.
 * @throws Error when it cannot become the user.
 */
export function giveUpRights(userName: string | undefined, wake: number): string | undefined {
  if (userName !== undefined) {
    const user = findUser(userName);
    if (user === undefined) {
      throw new Error(`worker_user '${userName}' is not known on this system`);
    }
    becomeUser(user);
  }
  try {
    refuseSystemCalls(wake);
    return undefined;
  } catch (error) {
    if (error instanceof SyscallError) return error.message; // a kernel without seccomp
    throw error;
  }
}
