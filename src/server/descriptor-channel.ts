/** A client's descriptor channel, over which its sessions arrive (PROTOCOL section 9). */
import { putOnEventLoop } from "../native/event-loop.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { socketPair } from "../native/socket.ts";
import type { Client } from "./client.ts";

export interface DescriptorChannel {
  /** Our end, on the event loop. */
  readonly socket: Bun.Socket<Client>;
  readonly fd: number;
  /** The client's end; the caller's to send and close. */
  readonly theirs: OwnedFd;
}

/** Nothing is ever sent to us on it, and the client ends with it. */
const handlers: Bun.SocketHandler<Client> = {
  data: (socket) => socket.data.end("bytes arrived on its descriptor channel"),
  close: (socket) => socket.data.end(),
  error: (socket, error) => socket.data.end(undefined, error),
};

/** @throws SyscallError, Error (as rejections); then nothing is left open. */
export async function openDescriptorChannel(client: Client): Promise<DescriptorChannel> {
  const [ours, theirs] = socketPair();
  const fd = ours.number;
  try {
    const socket = await putOnEventLoop(ours, { data: client, socket: handlers });
    return { socket, fd, theirs };
  } catch (error) {
    theirs.close();
    throw error;
  }
}
