/**
 * A program that binds a Unix socket at a path of its command. The path lies in a directory of this
 * instance alone, which belongs to its user: nobody else can put a socket there. What is connected
 * to is the very socket that was looked at; where the program has made another, that one is looked
 * at anew.
 */
import { chmodSync, chownSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { SyscallError } from "../../../native/errno.ts";
import type { OwnedFd } from "../../../native/owned-fd.ts";
import { PinnedSocket } from "../../../native/pinned-socket.ts";
import type { User } from "../../../native/process.ts";
import { maxSocketPath } from "../../../native/socket.ts";
import { fromText } from "../../../wire/bytes.ts";
import { FirstStreams } from "./first-streams.ts";
import type { ProgramOwner, Way } from "./way.ts";

export class SocketWay implements Way {
  readonly listener = undefined;
  readonly variables: readonly string[] = [];
  readonly #directory: string;
  readonly where: string;
  readonly words: Way["words"];
  readonly #first = new FirstStreams();
  #owner: ProgramOwner | undefined;
  #pinned: PinnedSocket | undefined;
  #isClosed = false;
  #isRemoved = false;

  /**
   * @param directory is made, and removed by `remove`. @param user whose it is to be; undefined:
   * ours. @throws Error: it cannot be made, or its path is too long for a socket.
   */
  constructor(directory: string, user: User | undefined) {
    this.#directory = directory;
    const path = join(directory, "socket");
    this.where = path;
    this.words = { socket: path };
    if (Buffer.byteLength(path) > maxSocketPath) {
      const why = `its path has more than ${maxSocketPath} bytes; set TMPDIR to a shorter one`;
      throw new Error(`socket '${path}': ${why}`);
    }
    mkdirSync(directory, { mode: 0o700 });
    if (user !== undefined) chownSync(directory, user.uid, user.gid);
  }

  isListening(owner: ProgramOwner): boolean {
    this.#owner = owner;
    try {
      const stream = this.#open();
      if (stream !== "full") this.#first.add(stream);
      return true;
    } catch (error) {
      if (error instanceof SyscallError && ["ENOENT", "ECONNREFUSED"].includes(error.code)) {
        return false;
      }
      throw error;
    }
  }

  connect(): OwnedFd | "full" {
    return this.#first.take() ?? this.#open();
  }

  #open(): OwnedFd | "full" {
    if (this.#pinned !== undefined) {
      try {
        return this.#pinned.connect();
      } catch (error) {
        if (!(error instanceof SyscallError) || error.code !== "ECONNREFUSED") throw error;
        this.#unpin();
      }
    }
    this.#pinned = this.#pin();
    return this.#pinned.connect();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#first.close();
    this.#unpin();
  }

  /** When the program has ended: many remove their socket themselves, and miss it otherwise. */
  remove(): void {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    try {
      // Nobody but us changes it from now on. What else was put there goes with the server's own.
      chmodSync(this.#directory, 0o700);
      const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
      if (uid !== undefined && gid !== undefined) chownSync(this.#directory, uid, gid);
      rmSync(this.where, { force: true });
      rmdirSync(this.#directory);
    } catch {
      // It is removed with the directory of the server.
    }
  }

  #pin(): PinnedSocket {
    if (this.#isClosed) throw new Error(`socket ${this.where}: connected to after it was closed`);
    const pinned = new PinnedSocket(fromText(this.where));
    if (pinned.owner !== this.#owner?.uid && pinned.owner !== process.geteuid?.()) {
      pinned.close();
      throw new Error(`socket ${this.where} belongs to user ${pinned.owner}`);
    }
    return pinned;
  }

  #unpin(): void {
    this.#pinned?.close();
    this.#pinned = undefined;
  }
}
