/**
 * Unix stream sockets: pairs, addresses, connecting, listening, sending and receiving bytes. Manual
 * pages: unix(7), socketpair(2), connect(2), send(2), recv(2).
 *
 * Our descriptors are used non-blocking per call (MSG_DONTWAIT), so a description that is handed to
 * somebody else never has O_NONBLOCK set behind their back.
 */
import { errnos, SyscallError } from "./errno.ts";
import { C, sockaddrUn } from "./layout.ts";
import { address, arenaBytes, arenaView, checked, errno, libc, reserve } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

const pairOffset = reserve(8);
const nameOffset = reserve(sockaddrUn.size);
const nameAddress = address(nameOffset);
const optionOffset = reserve(8);

/** Bytes one send or receive call moves at most: a pipe-sized piece. */
export const transferSize = 64 * 1024;
const dataOffset = reserve(transferSize);

/** The longest path of a socket: sun_path (unix(7)) less its NUL. */
export const maxSocketPath = sockaddrUn.pathSize - 1;

/** A connected pair of Unix stream sockets, close-on-exec, blocking. */
export function socketPair(): [OwnedFd, OwnedFd] {
  const type = C.SOCK_STREAM | C.SOCK_CLOEXEC;
  checked(libc.socketpair(C.AF_UNIX, type, 0, address(pairOffset)), "socketpair");
  return [
    new OwnedFd(arenaView.getInt32(pairOffset, true)),
    new OwnedFd(arenaView.getInt32(pairOffset + 4, true)),
  ];
}

/** Where a Unix socket listens: the bytes of sockaddr_un and how many of them count. */
export interface UnixAddress {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly text: string;
}

/** @throws RangeError when the path does not fit sun_path (107 bytes). */
export function pathAddress(path: string): UnixAddress {
  if (path.length === 0 || path.length > maxSocketPath || path.includes("\0")) {
    throw new RangeError(`socket path of ${path.length} bytes: 1 to ${maxSocketPath} allowed`);
  }
  return unixAddress(path, 0, sockaddrUn.path + path.length + 1, path);
}

/**
 * An abstract address (unix(7)); `name` is given without its leading NUL. 2.0 instances bind the
 * whole of sun_path, zero padded; `exact` names the bytes of the name only, a different address to
 * the kernel.
 */
export function abstractAddress(name: string, form: "padded" | "exact"): UnixAddress {
  if (name.length === 0 || name.length > maxSocketPath) {
    throw new RangeError(
      `abstract socket name of ${name.length} bytes: 1 to ${maxSocketPath} allowed`,
    );
  }
  const length = form === "padded" ? sockaddrUn.size : sockaddrUn.path + 1 + name.length;
  return unixAddress(name, 1, length, `@${name}`);
}

function unixAddress(name: string, at: number, length: number, text: string): UnixAddress {
  const bytes = new Uint8Array(sockaddrUn.size);
  bytes[sockaddrUn.family] = C.AF_UNIX;
  bytes.set(Buffer.from(name, "latin1"), sockaddrUn.path + at);
  return { bytes, length, text };
}

function newSocket(type: number = C.SOCK_STREAM): OwnedFd {
  const fd = libc.socket(C.AF_UNIX, type | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, 0);
  return new OwnedFd(checked(fd, "socket"));
}

/**
 * Connects without waiting. @returns a stream in blocking mode, or `full` when the listener's
 * backlog has no room (EAGAIN: epoll cannot wait for that, so the caller tries elsewhere or again
 * later).
 * @throws SyscallError: ECONNREFUSED, ENOENT, EMFILE and the rest.
 */
export function connectUnix(to: UnixAddress): OwnedFd | "full" {
  const socket = newSocket();
  // A plain loop: for so few bytes, set() costs more than its copying.
  const { bytes, length } = to;
  for (let i = 0; i < length; i += 1) arenaBytes[nameOffset + i] = bytes[i] ?? 0;
  if (libc.connect(socket.number, nameAddress, length) < 0) {
    const cause = errno();
    socket.close();
    if (cause === errnos.EAGAIN) return "full";
    throw new SyscallError("connect", to.text, cause);
  }
  // Whoever receives it does blocking reads (2.0 clients do), and O_NONBLOCK is shared through the
  // description.
  libc.fcntl(socket.number, C.F_SETFL, 0);
  return socket;
}

/** A socket that listens there. @throws SyscallError: EADDRINUSE, EACCES and the rest. */
export function listenUnix(at: UnixAddress, backlog: number): OwnedFd {
  using unfinished = new DisposableStack();
  const socket = unfinished.use(newSocket());
  arenaBytes.set(at.bytes, nameOffset);
  checked(libc.bind(socket.number, nameAddress, at.length), "bind", at.text);
  checked(libc.listen(socket.number, backlog), "listen", at.text);
  unfinished.move();
  return socket;
}

/** Gives a listening socket room for so many connections that wait. @throws SyscallError. */
export function listenAgain(fd: number, backlog: number): void {
  checked(libc.listen(fd, backlog), "listen", `fd ${fd}`);
}

/** One integer socket option at SOL_SOCKET, or undefined when `fd` is no socket. */
export function socketOption(fd: number, option: number): number | undefined {
  arenaView.setInt32(optionOffset + 4, 4, true);
  const at = address(optionOffset);
  if (libc.getsockopt(fd, C.SOL_SOCKET, option, at, address(optionOffset + 4)) < 0) {
    return undefined;
  }
  return arenaView.getInt32(optionOffset, true);
}

/**
 * What has become of the peer of a socket that nobody reads just now (tcp(7), TCP_INFO; an error,
 * such as a reset, is forgotten when it is told). Of Unix sockets it is not known: `there`.
 */
export function peerState(fd: number): "there" | "ended" | "gone" {
  if (socketOption(fd, C.SO_ERROR) !== 0) return "gone";
  arenaView.setInt32(optionOffset + 4, 1, true); // tcpi_state is the first byte
  const at = address(optionOffset);
  const length = address(optionOffset + 4);
  if (libc.getsockopt(fd, C.IPPROTO_TCP, C.TCP_INFO, at, length) < 0) return "there";
  return arenaView.getUint8(optionOffset) === C.TCP_CLOSE_WAIT ? "ended" : "there";
}

/** Why a descriptor is no Unix stream socket fit to talk on; undefined: it is one. */
export function whyNotStream(fd: number): string | undefined {
  if (libc.fcntl(fd, C.F_GETFD, 0) < 0) return "it is not open";
  const domain = socketOption(fd, C.SO_DOMAIN);
  if (domain === undefined) return "it is not a socket";
  if (domain !== C.AF_UNIX) return "it is not a Unix socket";
  if (socketOption(fd, C.SO_TYPE) !== C.SOCK_STREAM) return "it is not a stream socket";
  if (socketOption(fd, C.SO_ACCEPTCONN) !== 0) return "it is a listening socket";
  // Sending nothing does nothing, but tells whether there ever was a peer (unix(7)).
  const sent = Number(libc.send(fd, address(dataOffset), 0, C.MSG_DONTWAIT | C.MSG_NOSIGNAL));
  if (sent < 0 && errno() === errnos.ENOTCONN) return "it is not connected";
  return undefined;
}

/**
 * Sends bytes without waiting. @returns how many went out; 0 when the socket's buffer is full.
 * @throws SyscallError: EPIPE, ECONNRESET and the rest.
 */
export function send(fd: number, data: Uint8Array): number {
  let sent = 0;
  while (sent < data.length) {
    const whole = sent === 0 && data.length <= transferSize;
    const piece = whole ? data : data.subarray(sent, sent + transferSize);
    arenaBytes.set(piece, dataOffset);
    const flags = C.MSG_DONTWAIT | C.MSG_NOSIGNAL;
    const count = Number(libc.send(fd, address(dataOffset), piece.length, flags));
    if (count < 0) {
      const cause = errno();
      if (cause === errnos.EINTR) continue;
      if (cause === errnos.EAGAIN) return sent;
      throw new SyscallError("send", `fd ${fd}`, cause);
    }
    sent += count;
    if (count < piece.length) return sent;
  }
  return sent;
}

/**
 * Sends one datagram, cut to what the arena holds, without waiting. @returns whether it went out: a
 * receiver that is full or gone does not get it. @throws SyscallError when there is no socket.
 */
export function sendDatagram(to: UnixAddress, data: Uint8Array): boolean {
  using socket = newSocket(C.SOCK_DGRAM);
  arenaBytes.set(to.bytes, nameOffset);
  if (libc.connect(socket.number, nameAddress, to.length) < 0) return false;
  const piece = data.subarray(0, transferSize);
  arenaBytes.set(piece, dataOffset);
  const flags = C.MSG_DONTWAIT | C.MSG_NOSIGNAL;
  return Number(libc.send(socket.number, address(dataOffset), piece.length, flags)) >= 0;
}

/**
 * Receives up to `length` bytes without waiting, for sockets that carry descriptors: a plain read
 * must never go past the message at hand. @returns a copy; `empty` when nothing is there; `end` at
 * EOF.
 */
export function receive(fd: number, length: number): Uint8Array | "empty" | "end" {
  for (;;) {
    const want = Math.min(length, transferSize);
    const count = Number(libc.recv(fd, address(dataOffset), want, C.MSG_DONTWAIT));
    if (count > 0) return arenaBytes.slice(dataOffset, dataOffset + count);
    if (count === 0) return "end";
    const cause = errno();
    if (cause === errnos.EINTR) continue;
    if (cause === errnos.EAGAIN) return "empty";
    throw new SyscallError("recv", `fd ${fd}`, cause);
  }
}

/** Ends both directions of a connection, which stays open. Errors matter to no caller. */
export function shutdown(fd: number): void {
  libc.shutdown(fd, C.SHUT_RDWR);
}
