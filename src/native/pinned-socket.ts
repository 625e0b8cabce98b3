/**
 * A socket on the file system, held by a descriptor (open(2) O_PATH) instead of by its name. Names
 * come from less trusted processes and can be replaced at any time; everything here goes to the
 * very file that was opened, through /proc/self/fd (proc(5)), so a replaced name is neither
 * connected to nor changed.
 *
 * What Linux does not give is an unlink by descriptor. unlinkSame opens the directory, compares
 * what the name means in it with the file held, and deletes it there. Between those two steps
 * whoever may write to that directory can still put another file in this place: he can make us
 * delete a name that he could have deleted himself, and nothing else.
 */
import { chmodSync, chownSync, fstatSync, readlinkSync } from "node:fs";

import { errnos, orUndefined, SyscallError } from "./errno.ts";
import { identityOf, open, unlink } from "./fd.ts";
import type { OwnedFd } from "./owned-fd.ts";
import { connectUnix, pathAddress, type UnixAddress } from "./socket.ts";

/** The path by which the kernel finds the file behind one of our descriptors. */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

export class PinnedSocket implements Disposable {
  readonly #fd: OwnedFd;
  readonly #address: UnixAddress;
  readonly #identity: string;
  /** User id of the file's owner when it was opened. */
  readonly owner: number;

  /**
   * Opens the name itself: a symbolic link is not followed. The path is a byte string.
   * @throws SyscallError when it cannot be opened, Error when it is no socket.
   */
  constructor(path: string) {
    this.#fd = open(path, "path");
    const facts = fstatSync(this.#fd.number);
    if (!facts.isSocket()) {
      this.#fd.close();
      throw new Error(`${path} is not a socket`);
    }
    // `self` is a link, which each connect would follow.
    this.#address = pathAddress(`/proc/${readlinkSync("/proc/self")}/fd/${this.#fd.number}`);
    this.#identity = identityOf(this.#fd.number);
    this.owner = facts.uid;
  }

  /** As connectUnix. */
  connect(): OwnedFd | "full" {
    // Once closed, the number in the address can mean another file.
    if (!this.#fd.open) throw new Error("socket connected to after it was closed");
    return connectUnix(this.#address);
  }

  changeMode(mode: number): void {
    chmodSync(descriptorPath(this.#fd.number), mode);
  }

  changeOwner(uid: number, gid: number): void {
    chownSync(descriptorPath(this.#fd.number), uid, gid);
  }

  /** As unlinkSame. */
  unlinkName(path: string): boolean {
    return unlinkSame(path, this.#identity);
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Deletes a name if it still means the file of that identity (identityOf). @returns whether it did;
 * one that is gone or means something else by now is left alone. @throws SyscallError when it may
 * not be deleted.
 */
export function unlinkSame(path: string, identity: string): boolean {
  const slash = path.lastIndexOf("/");
  const above = slash < 0 ? "." : path.slice(0, slash + 1);
  using directory = orUndefined(() => open(above, "directory"), errnos.ENOENT);
  if (directory === undefined) return false;
  const name = `${descriptorPath(directory.number)}/${path.slice(slash + 1)}`;
  using file = orUndefined(() => open(name, "path"), errnos.ENOENT);
  if (file === undefined || identityOf(file.number) !== identity) return false;
  const result = unlink(name);
  if (typeof result === "number") throw new SyscallError("unlink", path, result);
  return result === "deleted";
}
