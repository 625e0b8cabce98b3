/**
 * Descriptors over Unix sockets: SCM_RIGHTS by hand-built msghdr, iovec and cmsghdr (unix(7),
 * cmsg(3)).
 *
 * Passing a descriptor is always one message of exactly one data byte (value 0) with one control
 * message holding one int. A reply and its descriptor go out as two messages of one sendmmsg(2), so
 * nothing comes between them and the descriptor's byte is never merged with the bytes before it.
 *
 * The arena holds, built once: two mmsghdr (reply, descriptor), their iovecs, the data byte, the
 * control buffer, and a msghdr of its own for receiving.
 */
import { errnos, SyscallError } from "./errno.ts";
import { C, cmsghdr, iovec, mmsghdr, msghdr } from "./layout.ts";
import { address, arenaBytes, arenaView, errno, libc, putSize, putWord, reserve } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";

/** A reply with a descriptor is one frame: 2 bytes of length, and at most 65,535 of content. */
const replyRoom = 2 + 65_535;

const messages = reserve(2 * mmsghdr.size);
const replyIovec = reserve(iovec.size);
const byteIovec = reserve(iovec.size);
const control = reserve(cmsghdr.space);
const zeroByte = reserve(1);
const reply = reserve(replyRoom);

const incoming = reserve(msghdr.size);
const incomingIovec = reserve(iovec.size);
const incomingByte = reserve(1);
// Room for several descriptors: a peer that sends more than one must not leave the rest unseen and
// open.
const incomingControlRoom = 16 + 4 * 64;
const incomingControl = reserve(incomingControlRoom);

const descriptorMessage = messages + mmsghdr.size;
putWord(messages + msghdr.iov, address(replyIovec));
putWord(messages + msghdr.iovlen, 1);
putWord(replyIovec + iovec.base, address(reply));
putWord(descriptorMessage + msghdr.iov, address(byteIovec));
putWord(descriptorMessage + msghdr.iovlen, 1);
putWord(descriptorMessage + msghdr.control, address(control));
putWord(descriptorMessage + msghdr.controllen, cmsghdr.space);
putWord(byteIovec + iovec.base, address(zeroByte));
putWord(byteIovec + iovec.len, 1);
putWord(control + cmsghdr.len, cmsghdr.lenOfInt);
arenaView.setInt32(control + cmsghdr.level, C.SOL_SOCKET, true);
arenaView.setInt32(control + cmsghdr.type, C.SCM_RIGHTS, true);

putWord(incoming + msghdr.iov, address(incomingIovec));
putWord(incoming + msghdr.iovlen, 1);
putWord(incoming + msghdr.control, address(incomingControl));
putWord(incomingIovec + iovec.base, address(incomingByte));
putWord(incomingIovec + iovec.len, 1);

/** Addresses the hot path would compute anew each time. */
const messagesAddress = address(messages);
const descriptorMessageAddress = address(descriptorMessage);

/** Where the reply is written that `sendReplyWithDescriptor` sends; any other may overwrite it. */
export const replyBytes = arenaBytes.subarray(reply, reply + replyRoom);

const sendFlags = C.MSG_DONTWAIT | C.MSG_NOSIGNAL;

/**
 * Passes a descriptor (the caller keeps its copy). @returns false when the socket's buffer is full,
 * or too many descriptors are on their way (ETOOMANYREFS, unprivileged processes only): nothing was
 * sent.
 * @throws SyscallError: EPIPE, ECONNRESET and the rest.
 */
export function sendDescriptor(socket: number, fd: number): boolean {
  arenaView.setInt32(control + cmsghdr.data, fd, true);
  for (;;) {
    const sent = Number(libc.sendmsg(socket, descriptorMessageAddress, sendFlags));
    if (sent >= 0) return true;
    const cause = errno();
    if (cause === errnos.EINTR) continue;
    if (cause === errnos.EAGAIN || cause === errnos.ETOOMANYREFS) return false;
    throw new SyscallError("sendmsg", `fd ${socket}`, cause);
  }
}

/** What went out of a reply and its descriptor: so many bytes, and whether the descriptor. */
interface SentWithDescriptor {
  readonly bytes: number;
  readonly descriptor: boolean;
}

const nothingSent: SentWithDescriptor = { bytes: 0, descriptor: false };

/**
 * Sends a reply, then a descriptor, as two messages (sendmmsg(2)). The descriptor only follows a
 * reply that went out whole. @throws SyscallError when nothing could be sent for another reason
 * than a full buffer.
 */
export function sendWithDescriptor(
  socket: number,
  data: Uint8Array,
  fd: number,
): SentWithDescriptor {
  if (data.length > replyRoom) {
    throw new RangeError(`reply of ${data.length} bytes: the limit is ${replyRoom}`);
  }
  replyBytes.set(data);
  return sendReplyWithDescriptor(socket, data.length, fd);
}

/** As sendWithDescriptor, of the first `length` bytes of `replyBytes`. */
export function sendReplyWithDescriptor(
  socket: number,
  length: number,
  fd: number,
): SentWithDescriptor {
  putSize(replyIovec + iovec.len, length);
  arenaView.setInt32(control + cmsghdr.data, fd, true);
  for (;;) {
    const sent = libc.sendmmsg(socket, messagesAddress, 2, sendFlags);
    if (sent < 0) {
      const cause = errno();
      if (cause === errnos.EINTR) continue;
      if (cause === errnos.EAGAIN || cause === errnos.ETOOMANYREFS) return nothingSent;
      throw new SyscallError("sendmmsg", `fd ${socket}`, cause);
    }
    // A reply that went out in part would still be followed by the descriptor if there were room
    // for it; on a stream socket there is none, since the first message filled the buffer. sent
    // tells which messages went.
    const bytes = sent >= 1 ? arenaView.getUint32(messages + mmsghdr.msgLen, true) : 0;
    return { bytes, descriptor: sent === 2 };
  }
}

/** A descriptor message that is no such thing; what the peer sent instead. */
export class DescriptorError extends Error {
  override readonly name = "DescriptorError";
  /** It was sent, but we had no free descriptor for it: no fault of the peer's. */
  readonly lost: boolean;

  constructor(message: string, lost: boolean) {
    super(message);
    this.lost = lost;
  }
}

/**
 * Receives one descriptor message without waiting. Reads exactly one byte, so nothing after it is
 * swallowed.
 * @returns the descriptor, close-on-exec; `empty` when nothing is there; `end` at EOF.
 * @throws DescriptorError: the byte came without a descriptor, with several, or it was lost for
 * want of a free descriptor (MSG_CTRUNC). @throws SyscallError.
 */
export function receiveDescriptor(socket: number): OwnedFd | "empty" | "end" {
  for (;;) {
    putSize(incoming + msghdr.controllen, incomingControlRoom);
    const flags = C.MSG_DONTWAIT | C.MSG_CMSG_CLOEXEC;
    const count = Number(libc.recvmsg(socket, address(incoming), flags));
    if (count === 0) return "end";
    if (count > 0) return takeDescriptor(socket);
    const cause = errno();
    if (cause === errnos.EINTR) continue;
    if (cause === errnos.EAGAIN) return "empty";
    throw new SyscallError("recvmsg", `fd ${socket}`, cause);
  }
}

function takeDescriptor(socket: number): OwnedFd {
  const received: OwnedFd[] = [];
  const length = arenaView.getUint32(incoming + msghdr.controllen, true);
  const isRights =
    length >= cmsghdr.lenOfInt &&
    arenaView.getInt32(incomingControl + cmsghdr.level, true) === C.SOL_SOCKET &&
    arenaView.getInt32(incomingControl + cmsghdr.type, true) === C.SCM_RIGHTS;
  if (isRights) {
    const end = incomingControl + arenaView.getUint32(incomingControl + cmsghdr.len, true);
    for (let at = incomingControl + cmsghdr.data; at + 4 <= end; at += 4) {
      received.push(new OwnedFd(arenaView.getInt32(at, true)));
    }
  }
  const truncated = (arenaView.getInt32(incoming + msghdr.flags, true) & C.MSG_CTRUNC) !== 0;
  const [first, ...others] = received;
  if (first !== undefined && others.length === 0 && !truncated) return first;
  for (const extra of received) extra.close();
  const why = truncated
    ? "it was lost for want of a free descriptor (MSG_CTRUNC)"
    : first === undefined
      ? "the byte came without one"
      : `${received.length} came at once`;
  throw new DescriptorError(`receiving a descriptor on fd ${socket}: ${why}`, truncated);
}
