/**
 * Who a connection to a port of this machine would come to: the kernel is asked for that one socket
 * (sock_diag(7)), however many others there are. /proc/net/tcp has them all: whoever listens a
 * hundred thousand times would hold up all that read it.
 */
import { errnos } from "./errno.ts";
import { C } from "./layout.ts";
import { address, arenaBytes, arenaView, libc, reserve } from "./libc.ts";
import { tcpListeners } from "./loopback.ts";
import { OwnedFd } from "./owned-fd.ts";

/** A socket that listens. */
export interface FoundListener {
  readonly uid: number;
  readonly inode: string;
}

/** nlmsghdr (netlink(7)), then inet_diag_req_v2 (sock_diag(7)) with its inet_diag_sockid. */
const request = { bytes: 0, type: 4, flags: 6, family: 16, protocol: 17, states: 20, id: 24 };
const sockId = { sourcePort: 0, source: 4, destination: 20, cookie: 40, size: 48 };
const requestBytes = request.id + sockId.size;
/** Behind the header an error, or inet_diag_msg. */
const reply = { type: 4, error: 16, state: 17, uid: 80, inode: 84, bytes: 88 };

const requestOffset = reserve(requestBytes);
const replyRoom = 4096;
const replyOffset = reserve(replyRoom);

/** Whether the kernel can be asked: it may have no sock_diag, or nobody may use it here. */
let canAsk: boolean | undefined;

/** @returns undefined: nobody listens. */
export function listenerAt(port: number): FoundListener | undefined {
  canAsk ??= isAnsweredTruly();
  const found = canAsk ? ask(port) : "unknown";
  if (found !== "unknown") return found;
  return tcpListeners().find((listener) => listener.port === port && listener.isLocal);
}

/** Without sock_diag the answer is that there is no such socket: so one is asked for that is. */
function isAnsweredTruly(): boolean {
  using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  return typeof ask(server.port) === "object";
}

function ask(port: number): FoundListener | "unknown" | undefined {
  const type = C.SOCK_DGRAM | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK;
  const descriptor = libc.socket(C.AF_NETLINK, type, C.NETLINK_SOCK_DIAG);
  if (descriptor < 0) return "unknown";
  using socket = new OwnedFd(descriptor);
  putRequest(port);
  const sent = libc.send(socket.number, address(requestOffset), requestBytes, C.MSG_NOSIGNAL);
  if (sent !== requestBytes) return "unknown";
  // The kernel has answered when it has taken the question.
  const got = libc.recv(socket.number, address(replyOffset), replyRoom, C.MSG_DONTWAIT);
  if (got < reply.error + 4) return "unknown";
  if (arenaView.getUint16(replyOffset + reply.type, true) === C.NLMSG_ERROR) {
    const cause = -arenaView.getInt32(replyOffset + reply.error, true);
    return cause === errnos.ENOENT ? undefined : "unknown";
  }
  if (got < reply.bytes) return "unknown";
  if (arenaView.getUint8(replyOffset + reply.state) !== C.TCP_LISTEN) return undefined;
  return {
    uid: arenaView.getUint32(replyOffset + reply.uid, true),
    inode: String(arenaView.getUint32(replyOffset + reply.inode, true)),
  };
}

/** The socket of 127.0.0.1 and the port that a stranger on 127.0.0.1, port 0, would come to. */
function putRequest(port: number): void {
  arenaBytes.fill(0, requestOffset, requestOffset + requestBytes);
  arenaView.setUint32(requestOffset + request.bytes, requestBytes, true);
  arenaView.setUint16(requestOffset + request.type, C.SOCK_DIAG_BY_FAMILY, true);
  arenaView.setUint16(requestOffset + request.flags, C.NLM_F_REQUEST, true);
  arenaView.setUint8(requestOffset + request.family, C.AF_INET);
  arenaView.setUint8(requestOffset + request.protocol, C.IPPROTO_TCP);
  arenaView.setUint32(requestOffset + request.states, 1 << C.TCP_LISTEN, true);
  const id = requestOffset + request.id;
  arenaView.setUint16(id + sockId.sourcePort, port, false);
  arenaView.setUint32(id + sockId.source, C.INADDR_LOOPBACK, false);
  arenaView.setUint32(id + sockId.destination, C.INADDR_LOOPBACK, false);
  arenaView.setBigUint64(id + sockId.cookie, 2n ** 64n - 1n, true); // any
}
