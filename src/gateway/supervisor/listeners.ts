/**
 * The sockets on which the gateway accepts. The supervisor binds and holds them, workers inherit
 * them: a worker that dies takes no waiting connection along, its successor finds them in the same
 * queue.
 *
 * A TCP address has one socket for each worker, over which the kernel spreads connections evenly
 * (SO_REUSEPORT); with fewer workers than sockets, some serve several. A Unix socket, or one that
 * systemd has passed, is shared by all workers. A reload keeps what stays as it is.
 */
import { chmodSync, fstatSync, lstatSync, unlinkSync } from "node:fs";

import { SyscallError } from "../../native/errno.ts";
import { open as openName } from "../../native/fd.ts";
import {
  adoptListener,
  listenPath,
  listenShared,
  listenTcp,
  localAddress,
  showTcp,
  type TcpAddress,
} from "../../native/listening-socket.ts";
import { OwnedFd } from "../../native/owned-fd.ts";
import { peerPid } from "../../native/peer.ts";
import { descriptorPath } from "../../native/pinned-socket.ts";
import { holderOfPort, showProcess } from "../../native/port-holder.ts";
import { connectUnix, pathAddress } from "../../native/socket.ts";
import { fromText } from "../../wire/bytes.ts";
import type { GatewayConfig, ListenAddress } from "../config.ts";
import type { PassedOnListener, SocketFile } from "./succession.ts";
import type { SharedListener } from "./worker-process.ts";

/** An address that cannot be listened on; the message says which and why. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** One address and its sockets. */
export class Listener {
  /** As people write it: `http://127.0.0.1:8080`, `unix:/run/pool.sock`. */
  readonly url: string;
  /** What it was configured as: the same text, the same listener. */
  readonly key: string;
  readonly #tls: boolean;
  /** The address of more sockets; undefined: there can be only this one. */
  readonly #shared: TcpAddress | undefined;
  readonly #sockets: OwnedFd[];
  /** The file of a Unix socket of ours, as it was made. */
  #file: SocketFile | undefined;

  private constructor(
    key: string,
    url: string,
    how: { tls: boolean; shared?: TcpAddress; file?: SocketFile },
    sockets: OwnedFd[],
  ) {
    this.key = key;
    this.url = url;
    this.#tls = how.tls;
    this.#shared = how.shared;
    this.#sockets = sockets;
    this.#file = how.file;
  }

  /** @throws ListenError. */
  static open(address: ListenAddress, workers: number): Listener {
    try {
      if (address.kind === "unix") return openUnix(address);
      return Listener.tcp(showAddress(address), address.tls, listenTcp(address, workers));
    } catch (cause) {
      if (cause instanceof ListenError) throw cause;
      const why = cause instanceof SyscallError ? cause.code : (cause as Error).message;
      const isHeld = why === "EADDRINUSE" && address.kind === "tcp";
      const holder = isHeld ? holderOfPort(address) : undefined;
      const whose = holder === undefined ? "" : `: ${holder} listens there`;
      throw new ListenError(`listen on ${showAddress(address)}: ${why}${whose}`, { cause });
    }
  }

  /** A socket that systemd has passed. @throws ListenError when nothing can be accepted on it. */
  static inherited(descriptor: number, tls: boolean): Listener {
    const name = adoptListener(descriptor);
    if (typeof name === "string") {
      throw new ListenError(`descriptor ${descriptor} of LISTEN_FDS cannot be used: ${name}`);
    }
    const url =
      name.kind === "unix" ? `unix:${name.path}` : `${tls ? "https" : "http"}://${showTcp(name)}`;
    return new Listener(`inherited ${descriptor}`, url, { tls }, [new OwnedFd(descriptor)]);
  }

  static tcp(key: string, tls: boolean, sockets: OwnedFd[]): Listener {
    const [first] = sockets;
    const shared = first === undefined ? undefined : localAddress(first.number);
    if (shared?.kind !== "tcp") throw new Error(`${key}: no TCP socket`);
    const url = `${tls ? "https" : "http"}://${showTcp(shared)}`;
    return new Listener(key, url, { tls, shared }, sockets);
  }

  static unix(key: string, path: string, socket: OwnedFd): Listener {
    const { dev, ino } = lstatSync(path);
    return new Listener(key, `unix:${path}`, { tls: false, file: { path, dev, ino } }, [socket]);
  }

  /** One of the program that this process was before. @throws Error when it is none any more. */
  static passedOn({ key, tls, descriptors, file }: PassedOnListener): Listener {
    const sockets = descriptors.map((number) => new OwnedFd(number));
    if (file === null) return Listener.tcp(key, tls, sockets);
    return new Listener(key, `unix:${file.path}`, { tls, file }, sockets);
  }

  /** What the next program in this process has to know of it. */
  get passOn(): PassedOnListener {
    const descriptors = this.#sockets.map(({ number }) => number);
    return { key: this.key, tls: this.#tls, descriptors, file: this.#file ?? null };
  }

  /**
   * Has a socket for each of so many workers, where there can be several. @returns how to undo it:
   * a socket that nobody serves would swallow its share of connections.
   */
  growTo(workers: number): () => void {
    const before = this.#sockets.length;
    if (this.#shared !== undefined && workers > before) {
      this.#sockets.push(...listenShared(this.#shared, workers - before));
    }
    return () => {
      for (const socket of this.#sockets.splice(before)) socket.close();
    };
  }

  /** What the worker of one place, of so many, has to serve. */
  forPlace(place: number, workers: number): SharedListener[] {
    return this.#sockets
      .filter((_, index) => this.#shared === undefined || index % workers === place)
      .map(({ number }) => ({ fd: number, tls: this.#tls }));
  }

  /** Closes the sockets and removes the file of a Unix socket, if it is still ours. */
  close(): void {
    const file = this.#file;
    // Only once: its number may be that of a file that somebody else makes there afterwards.
    this.#file = undefined;
    try {
      if (file !== undefined && isSameFile(file)) unlinkSync(file.path);
    } catch {
      // it stays, and is removed by whoever listens there next
    }
    for (const socket of this.#sockets) socket.close();
  }
}

/**
 * The listeners of a configuration; those of `present` that it has too are kept.
 * @throws ListenError: then no other than those is open.
 */
export function openListeners(
  { listen, workers }: Pick<GatewayConfig, "listen" | "workers">,
  present: readonly Listener[],
): Listener[] {
  const kept = new Map(present.map((listener) => [listener.key, listener]));
  const listeners: Listener[] = [];
  try {
    for (const address of listen) {
      listeners.push(kept.get(showAddress(address)) ?? Listener.open(address, workers));
    }
    return listeners;
  } catch (error) {
    closeAllBut(present, listeners);
    throw error;
  }
}

/**
 * The listeners that a program starts with. Those of the one before it in this process are as that
 * has left them until this one serves: it may have to leave them to that again.
 */
export class FirstListeners {
  readonly all: readonly Listener[];
  #before: readonly Listener[];
  /** Takes back what they have got beyond those. */
  readonly #grown: (() => void)[] = [];

  /** @param passedOn undefined: there was no program before. @throws ListenError, Error. */
  constructor(
    config: Pick<GatewayConfig, "listen" | "workers">,
    inherited: readonly Listener[],
    passedOn: readonly PassedOnListener[] | undefined,
  ) {
    const present = passedOn?.map((listener) => Listener.passedOn(listener)) ?? [];
    this.#before = passedOn === undefined ? [] : [...present, ...inherited];
    this.all = inherited.length > 0 ? inherited : openListeners(config, present);
    try {
      for (const listener of this.all) this.#grown.push(listener.growTo(config.workers));
    } catch (error) {
      this.failed();
      throw error;
    }
  }

  serves(): void {
    closeAllBut(this.all, this.#before);
    this.#before = [];
    this.#grown.length = 0;
  }

  /** Closes all that the program before had not. */
  failed(): void {
    for (const shrink of this.#grown) shrink();
    closeAllBut(this.#before, this.all);
  }
}

export function closeAllBut(kept: readonly Listener[], listeners: readonly Listener[]): void {
  for (const listener of listeners) if (!kept.includes(listener)) listener.close();
}

function isSameFile(file: SocketFile): boolean {
  const found = lstatSync(file.path, { throwIfNoEntry: false });
  return found !== undefined && found.dev === file.dev && found.ino === file.ino;
}

/** What an address is configured as, in one text. */
export function showAddress(address: ListenAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `${address.tls ? "https " : ""}${showTcp(address)}`;
}

function openUnix(address: Extract<ListenAddress, { kind: "unix" }>): Listener {
  const { path, mode } = address;
  makeRoomAt(path);
  const socket = listenPath(path);
  try {
    setSocketMode(path, mode);
    return Listener.unix(showAddress(address), path, socket);
  } catch (error) {
    unlinkSync(path);
    socket.close();
    throw error;
  }
}

/**
 * Gives a socket of ours its permissions. In a directory of somebody else's its name may be a link
 * by now; so it is opened, and only then looked at. @throws Error, SyscallError.
 */
export function setSocketMode(path: string, mode: number): void {
  using name = openName(fromText(path), "path");
  const facts = fstatSync(name.number);
  if (!facts.isSocket() || facts.uid !== process.geteuid?.()) {
    throw new Error("somebody has put another file in its place");
  }
  chmodSync(descriptorPath(name.number), mode);
}

/**
 * Removes a socket that somebody has left behind. @throws ListenError when it is alive, or no
 * socket.
 */
function makeRoomAt(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new ListenError(`listen on unix:${path}: there is another file`);
  let who = "somebody";
  try {
    const answer = connectUnix(pathAddress(Buffer.from(path).toString("latin1")));
    if (answer !== "full") {
      using stream = answer;
      const pid = peerPid(stream.number);
      if (pid !== 0) who = showProcess(pid);
    }
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== "ECONNREFUSED") throw error;
    unlinkSync(path);
    return;
  }
  throw new ListenError(`listen on unix:${path}: ${who} listens there`);
}
