/** A client's descriptor channel, over which its sessions arrive (PROTOCOL section 9). */
import { putOnEventLoop } from "../native/event-loop.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { socketPair } from "../native/socket.ts";

/** Whose channel it is: the client, which ends with it. */
export interface ChannelOwner {
  end(why?: string, error?: unknown): void;
}

export interface DescriptorChannel {
  /** Our end, on the event loop. */
  readonly socket: Bun.Socket<ChannelOwner>;
  readonly fd: number;
  /** The client's end; the caller's to send and close. */
  readonly theirs: OwnedFd;
}

/** Nothing is ever sent to us on it. */
const handlers: Bun.SocketHandler<ChannelOwner> = {
  data: (socket) => socket.data.end("bytes arrived on its descriptor channel"),
  close: (socket) => socket.data.end(),
  error: (socket, error) => socket.data.end(undefined, error),
};

/** @throws SyscallError, Error (as rejections); then nothing is left open. */
export async function openDescriptorChannel(owner: ChannelOwner): Promise<DescriptorChannel> {
  const [ours, theirs] = socketPair();
  const fd = ours.number;
  try {
    const socket = await putOnEventLoop(ours, { data: owner, socket: handlers });
    return { socket, fd, theirs };
  } catch (error) {
    theirs.close();
    throw error;
  }
}
