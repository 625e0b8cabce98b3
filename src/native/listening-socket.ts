/**
 * Listening sockets that one process binds and others accept on: TCP and Unix. Manual pages: ip(7),
 * ipv6(7), unix(7), socket(7), getsockname(2).
 *
 * They are non-blocking: several processes may accept on one of them, and whoever comes second
 * finds nothing. The functions of C that only the gateway uses are in tables of their own.
 */
import { setCloseOnExec, setNonBlocking } from "./fd.ts";
import { C, sockaddrIn, sockaddrIn6, sockaddrUn } from "./layout.ts";
import {
  address,
  arenaBytes,
  arenaView,
  checked,
  cPath,
  libc,
  loadFunctions,
  reserve,
} from "./libc.ts";
import { switchOn } from "./loopback.ts";
import { OwnedFd } from "./owned-fd.ts";
import { listenUnix, pathAddress, socketOption } from "./socket.ts";

const functions = loadFunctions({
  inet_pton: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  inet_ntop: { args: ["i32", "ptr", "ptr", "u32"], returns: "ptr" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
});

const nameOffset = reserve(128); // struct sockaddr_storage
const lengthOffset = reserve(8);
const textOffset = reserve(64); // INET6_ADDRSTRLEN is 46

/** Connections that may wait to be accepted; the kernel takes no more than its somaxconn. */
const listenBacklog = 4096;

/** An IP address in numbers (`127.0.0.1`, `::1`) and a port. */
export interface TcpAddress {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
}

/** A socket's name on the file system, or `@` and its abstract name. */
interface UnixPath {
  readonly kind: "unix";
  readonly path: string;
}

/** Whether a text is an IP address in numbers, as inet_pton(3) reads it. */
export function isIpAddress(text: string): boolean {
  return !text.includes("\0") && text.length < 64 && putTcpName({ host: text, port: 0 }) > 0;
}

/**
 * `count` sockets that listen on one address; the kernel spreads connections over them
 * (SO_REUSEPORT). With port 0 it picks one for all of them.
 * @throws SyscallError: EADDRINUSE (also if another gateway of the same user listens there, which
 * SO_REUSEPORT alone would let us share), EACCES, EADDRNOTAVAIL and the rest.
 */
export function listenTcp(at: TcpAddress, count: number): OwnedFd[] {
  // Without SO_REUSEPORT an address in use is refused; closed again before the real ones are bound.
  if (at.port !== 0) bindTcp(at, false).close();
  return listenShared(at, count);
}

/** The same for an address on which sockets of ours may listen already. */
export function listenShared(at: TcpAddress, count: number): OwnedFd[] {
  using unfinished = new DisposableStack();
  const sockets: OwnedFd[] = [];
  let { port } = at;
  while (sockets.length < count) {
    const socket = unfinished.use(bindTcp({ ...at, port }, true));
    checked(libc.listen(socket.number, listenBacklog), "listen", showTcp(at));
    ({ port } = localAddress(socket.number) as TcpAddress);
    sockets.push(socket);
  }
  unfinished.move();
  return sockets;
}

/** A socket that listens on a path of the file system. @throws SyscallError, RangeError. */
export function listenPath(path: string): OwnedFd {
  return listenUnix(pathAddress(Buffer.from(path).toString("latin1")), listenBacklog);
}

/**
 * Makes an inherited listening socket fit to be shared: non-blocking, close-on-exec. @returns its
 * address, or why it cannot be used.
 */
export function adoptListener(fd: number): TcpAddress | UnixPath | string {
  const accepts = socketOption(fd, C.SO_ACCEPTCONN);
  if (accepts === undefined) return "it is not a socket";
  if (accepts === 0 || socketOption(fd, C.SO_TYPE) !== C.SOCK_STREAM) {
    return "it is not a listening stream socket";
  }
  const name = localAddress(fd);
  if (name === undefined) return "it is neither a TCP nor a Unix socket";
  setCloseOnExec(fd, true);
  setNonBlocking(fd, true);
  return name;
}

/** Where a socket is bound (getsockname(2)); undefined: of another family than TCP and Unix. */
export function localAddress(fd: number): TcpAddress | UnixPath | undefined {
  arenaView.setUint32(lengthOffset, 128, true);
  const asked = functions.getsockname(fd, address(nameOffset), address(lengthOffset));
  checked(asked, "getsockname", `fd ${fd}`);
  const length = arenaView.getUint32(lengthOffset, true);
  switch (arenaView.getUint16(nameOffset, true)) {
    case C.AF_INET:
      return tcpName(C.AF_INET, sockaddrIn.address);
    case C.AF_INET6:
      return tcpName(C.AF_INET6, sockaddrIn6.address);
    case C.AF_UNIX: {
      const start = nameOffset + sockaddrUn.path;
      const name = Buffer.from(arenaBytes.slice(start, nameOffset + length));
      const isAbstract = name[0] === 0;
      const text = isAbstract ? name.toString("utf8", 1) : name.toString("utf8").split("\0")[0];
      return { kind: "unix", path: isAbstract ? `@${text}` : (text ?? "") };
    }
    default:
      return undefined;
  }
}

function tcpName(family: number, at: number): TcpAddress {
  functions.inet_ntop(family, address(nameOffset + at), address(textOffset), 64);
  const end = arenaBytes.indexOf(0, textOffset);
  const host = Buffer.from(arenaBytes.slice(textOffset, end)).toString("latin1");
  return { kind: "tcp", host, port: arenaView.getUint16(nameOffset + sockaddrIn.port, false) };
}

/** Puts a sockaddr_in or sockaddr_in6 into the arena. @returns its size; 0: no IP address. */
function putTcpName(at: { readonly host: string; readonly port: number }): number {
  arenaBytes.fill(0, nameOffset, nameOffset + sockaddrIn6.size);
  arenaView.setUint16(nameOffset + sockaddrIn.port, at.port, false);
  for (const [family, layout] of [
    [C.AF_INET, sockaddrIn],
    [C.AF_INET6, sockaddrIn6],
  ] as const) {
    arenaView.setUint16(nameOffset, family, true);
    const target = address(nameOffset + layout.address);
    if (functions.inet_pton(family, cPath(at.host), target) === 1) return layout.size;
  }
  return 0;
}

function bindTcp(at: TcpAddress, shared: boolean): OwnedFd {
  const what = showTcp(at);
  const size = putTcpName(at);
  if (size === 0) throw new RangeError(`${what}: not an IP address in numbers`);
  const family = arenaView.getUint16(nameOffset, true);
  const type = C.SOCK_STREAM | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK;
  using unfinished = new DisposableStack();
  const fd = checked(libc.socket(family, type, 0), "socket", what);
  const socket = unfinished.use(new OwnedFd(fd));
  const set = (level: number, option: number) =>
    checked(switchOn(fd, level, option), "setsockopt", `fd ${fd}`);
  // Connections of a gateway that has just ended must not keep the next one from starting.
  set(C.SOL_SOCKET, C.SO_REUSEADDR);
  if (shared) set(C.SOL_SOCKET, C.SO_REUSEPORT);
  // So that 0.0.0.0 and :: can both be given, and :: means the same on every system.
  if (family === C.AF_INET6) set(C.IPPROTO_IPV6, C.IPV6_V6ONLY);
  checked(libc.bind(fd, address(nameOffset), size), "bind", what);
  unfinished.move();
  return socket;
}

/** `127.0.0.1:80`, `[::1]:80`. */
export function showTcp(at: TcpAddress): string {
  return at.host.includes(":") ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`;
}
