/**
 * Programs that listen on a port of this machine: how a stream is connected to one, and who it is
 * that listens (proc(5), /proc/net/tcp: listening sockets come first, with their owner and inode).
 * A port is anybody's who is first: so it is asked before it is believed.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";

import { errnos, SyscallError } from "./errno.ts";
import { canWrite } from "./fd.ts";
import { C, sockaddrIn } from "./layout.ts";
import { address, arenaView, checked, errno, libc, loadFunctions, reserve } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";
import { socketOption } from "./socket.ts";

const functions = loadFunctions({
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "i32"], returns: "i32" },
});

const nameOffset = reserve(sockaddrIn.size);
const one = reserve(4);
arenaView.setInt32(one, 1, true);
const oneAddress = address(one);

/**
 * Connects to 127.0.0.1 without waiting: on this machine the kernel has done it when the call is
 * over. @returns a stream in blocking mode, that sends at once (TCP_NODELAY); `full` when there is
 * no room in the listener's backlog. @throws SyscallError: ECONNREFUSED, EMFILE and the rest.
 */
export function connectLoopback(port: number): OwnedFd | "full" {
  const where = `127.0.0.1:${port}`;
  const socket = loopbackSocket(where);
  try {
    switchOn(socket.number, C.IPPROTO_TCP, C.TCP_NODELAY);
    putName(port);
    if (libc.connect(socket.number, address(nameOffset), sockaddrIn.size) < 0) {
      const cause = errno();
      if (cause !== errnos.EINPROGRESS) throw new SyscallError("connect", where, cause);
      // Nobody has answered: the kernel drops what finds no room.
      if (!canWrite(socket.number)) {
        socket.close();
        return "full";
      }
      const refused = socketOption(socket.number, C.SO_ERROR) ?? 0;
      if (refused !== 0) throw new SyscallError("connect", where, refused);
    }
    libc.fcntl(socket.number, C.F_SETFL, 0);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/**
 * Acknowledges what has come on a stream at once, where it is TCP: a program that writes an answer
 * in pieces, without TCP_NODELAY, waits for that with the next piece, as a rule for 40 ms.
 */
export function acknowledge(fd: number): void {
  switchOn(fd, C.IPPROTO_TCP, C.TCP_QUICKACK);
}

/** Switches a socket's option on (setsockopt(2)). @returns below 0: errno says why not. */
export function switchOn(fd: number, level: number, option: number): number {
  return functions.setsockopt(fd, level, option, oneAddress, 4);
}

/** Whether a program could listen on this port of 127.0.0.1 now. */
export function isFreePort(port: number): boolean {
  using socket = loopbackSocket(`127.0.0.1:${port}`);
  putName(port);
  return libc.bind(socket.number, address(nameOffset), sockaddrIn.size) === 0;
}

function loopbackSocket(where: string): OwnedFd {
  const fd = libc.socket(C.AF_INET, C.SOCK_STREAM | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, 0);
  return new OwnedFd(checked(fd, "socket", where));
}

function putName(port: number): void {
  arenaView.setUint16(nameOffset, C.AF_INET, true);
  arenaView.setUint16(nameOffset + sockaddrIn.port, port, false);
  arenaView.setUint32(nameOffset + sockaddrIn.address, C.INADDR_LOOPBACK, false);
}

interface TcpListener {
  /** For people: `127.0.0.1:80`, `*:80`, or an address of IPv6 in hexadecimal. */
  readonly shown: string;
  readonly port: number;
  /** Whether connections to 127.0.0.1 can come to it. */
  readonly isLocal: boolean;
  readonly uid: number;
  readonly inode: string;
}

const chunkBytes = 64 * 1024;
/** More listening sockets are not looked at. */
const maxTableBytes = 4 * 1024 * 1024;
const listening = "0A";

/** All listening TCP sockets of this network namespace. */
export function tcpListeners(): TcpListener[] {
  return [...readTable("/proc/net/tcp"), ...readTable("/proc/net/tcp6")];
}

function readTable(path: string): TcpListener[] {
  let text = "";
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return []; // No IPv6 here.
  }
  try {
    const room = Buffer.alloc(chunkBytes);
    // Connections come behind the listeners, and may be very many.
    while (text.length < maxTableBytes && !hasConnections(text)) {
      const count = readSync(file, room, 0, room.length, null);
      if (count === 0) break;
      text += room.toString("latin1", 0, count);
    }
  } finally {
    closeSync(file);
  }
  return text.split("\n").slice(1).flatMap(parseRow);
}

function hasConnections(text: string): boolean {
  const lastRow = text.slice(text.lastIndexOf("\n", text.length - 2) + 1);
  const state = /^\s*\d+: \S+ \S+ (\w\w) /.exec(lastRow)?.[1];
  return state !== undefined && state !== listening;
}

function parseRow(row: string): TcpListener[] {
  const match = /^\s*\d+: (\w+):(\w{4}) \S+ 0A \S+ \S+ \S+\s+(\d+)\s+\d+ (\d+) /.exec(row);
  if (match === null) return [];
  const [, host = "", portText = "", uid, inode = ""] = match;
  const port = Number.parseInt(portText, 16);
  const isAny = /^0+$/.test(host);
  // As 32-bit words of this machine, which is little-endian; also as IPv6 writes IPv4 (Java does).
  const isLoopback = /^(?:0{16}FFFF0000)?0100007F$/.test(host);
  const shown = isAny ? "*" : isLoopback ? "127.0.0.1" : showHost(host);
  const known = { port, uid: Number(uid), inode };
  return [{ shown: `${shown}:${port}`, isLocal: isAny || isLoopback, ...known }];
}

function showHost(host: string): string {
  if (host.length !== 8) return `[${host}]`;
  return (host.match(/../g) ?? [])
    .toReversed()
    .map((byte) => Number.parseInt(byte, 16))
    .join(".");
}

/**
 * Inodes of the sockets that a process has open. @param most descriptors that are looked at.
 * @returns undefined: it has more, or they may not be seen.
 */
export function socketsOf(pid: number, most = Infinity): Set<string> | undefined {
  const directory = `/proc/${pid}/fd`;
  const inodes = new Set<string>();
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "EACCES" || code === "EPERM" ? undefined : inodes; // else it has ended
  }
  if (names.length > most) return undefined;
  for (const name of names) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`${directory}/${name}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // closed since
    }
  }
  return inodes;
}
