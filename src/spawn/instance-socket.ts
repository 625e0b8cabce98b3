/**
 * The socket of an instance that a 2.0 spawn server made: an abstract name, or a path.
 *
 * The name comes from a process with fewer rights than ours, so a path is opened once, without
 * following a link, and from then on only the descriptor counts: it must be a socket of a user who
 * may own one, it is made ours (mode 0600, our user), connected to and deleted through it.
 */
import { statSync } from "node:fs";

import { SyscallError } from "../native/errno.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { isSameListener, listenerOf, type ListenerIdentity } from "../native/peer.ts";
import { PinnedSocket } from "../native/pinned-socket.ts";
import { abstractAddress, connectUnix, pathAddress, type UnixAddress } from "../native/socket.ts";
import { escapeForLog, type ByteString } from "../wire/bytes.ts";
import type { SpawnedInstance } from "../wire/spawn-protocol.ts";

export interface InstanceSocket {
  /** As connectUnix. */
  connect(): OwnedFd | "full";
  /** Removes what is left of it. @throws SyscallError when its name could not be deleted. */
  release(): void;
}

/**
 * Which form of a name worked last, and is tried first. 2.0 instances bind all of sun_path; the
 * other form is tried where that one is refused.
 */
export class AbstractForms {
  last: "padded" | "exact" = "padded";
}

class AbstractSocket implements InstanceSocket {
  readonly #name: ByteString;
  readonly #forms: AbstractForms;
  /** The address that worked. */
  #known: UnixAddress | undefined;

  constructor(name: ByteString, forms: AbstractForms) {
    this.#name = name;
    this.#forms = forms;
  }

  connect(): OwnedFd | "full" {
    if (this.#known !== undefined) return connectUnix(this.#known);
    const { last } = this.#forms;
    try {
      return this.#try(last);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.code !== "ECONNREFUSED") throw error;
      return this.#try(last === "padded" ? "exact" : "padded");
    }
  }

  #try(form: AbstractForms["last"]): OwnedFd | "full" {
    const address = abstractAddress(this.#name, form);
    const connected = connectUnix(address);
    this.#known = address;
    this.#forms.last = form;
    return connected;
  }

  release(): void {
    // An abstract name goes with its process.
  }
}

/**
 * Connecting through the descriptor walks /proc, which costs more than the connection itself. So
 * once the listener is known, the name is tried first and the kernel is asked who answered: only
 * the very listener is accepted, and whatever else happens, the descriptor decides.
 */
export class FileSocket implements InstanceSocket {
  readonly #path: ByteString;
  readonly #pinned: PinnedSocket;
  readonly #name: UnixAddress;
  #listener: ListenerIdentity | undefined;

  /**
   * Opens the socket, checks whose it is and makes it ours. @param owners the users it may belong
   * to.
   * @throws Error, SyscallError: it is not to be used.
   */
  constructor(path: ByteString, owners: readonly number[]) {
    this.#path = path;
    const pinned = new PinnedSocket(path);
    try {
      if (!owners.includes(pinned.owner)) {
        const allowed = owners.join(" or ");
        throw new Error(
          `socket ${escapeForLog(path)} belongs to user ${pinned.owner}, not to ${allowed}`,
        );
      }
      pinned.changeMode(0o600);
      // Raises nothing where it is ours already, which is all that a server without root may have.
      pinned.changeOwner(process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
    } catch (error) {
      pinned.close();
      throw error;
    }
    this.#pinned = pinned;
    this.#name = pathAddress(path);
  }

  connect(): OwnedFd | "full" {
    if (this.#listener !== undefined) {
      const stream = this.#connectByName(this.#listener);
      if (stream !== undefined) return stream;
    }
    const stream = this.#pinned.connect();
    if (stream !== "full") this.#listener ??= listenerOf(stream.number);
    return stream;
  }

  #connectByName(listener: ListenerIdentity): OwnedFd | undefined {
    let stream: OwnedFd | "full";
    try {
      stream = connectUnix(this.#name);
    } catch {
      return undefined;
    }
    if (stream === "full") return undefined;
    if (isSameListener(stream.number, listener)) return stream;
    stream.close();
    return undefined;
  }

  release(): void {
    try {
      this.#pinned.unlinkName(this.#path);
    } finally {
      this.#pinned.close();
    }
  }
}

/**
 * The socket a spawn server named. @param spawnServerUser the user it runs as.
 * @throws Error, SyscallError: it is not to be used.
 */
export function openInstanceSocket(
  said: SpawnedInstance,
  spawnServerUser: number,
  forms: AbstractForms,
): InstanceSocket {
  if (said.abstract) return new AbstractSocket(said.socketName, forms);
  return new FileSocket(said.socketName, allowedOwners(said.pid, spawnServerUser));
}

/**
 * Only a spawn server that runs as root can make instances of other users. From another one the
 * process id proves nothing: it could name any process, and so any user's socket.
 */
function allowedOwners(pid: number, spawnServerUser: number): number[] {
  if (spawnServerUser !== 0) return [spawnServerUser];
  try {
    const instanceUser = statSync(`/proc/${pid}`).uid;
    return instanceUser === 0 ? [0] : [0, instanceUser];
  } catch {
    return [0]; // Gone already: connecting will show it.
  }
}
