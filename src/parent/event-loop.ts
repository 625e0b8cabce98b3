/**
 * A raw stream socket on Bun's event loop. From then on the number is Bun's: nobody else closes it
 * or writes on it.
 */
import type { Socket, SocketHandler } from "bun";
import { OwnedFd } from "../native/owned-fd.ts";

export interface EventLoopOptions<Data> {
  /** What the handlers find as `socket.data`; one set of handlers serves all sockets of a kind. */
  readonly data: Data;
  readonly socket: SocketHandler<Data>;
  /** Whether writing goes on after the peer's EOF. */
  readonly allowHalfOpen?: boolean;
}

// Bun's types declare the options but, of connect's forms, only those for addresses.
const connect = Bun.connect as unknown as <Data>(
  options: Bun.FdSocketOptions<Data> & { allowHalfOpen?: boolean },
) => Promise<Socket<Data>>;

/**
 * Moves the descriptor onto the event loop; one that is refused is closed. The `open` handler is
 * called before this returns.
 */
export async function putOnEventLoop<Data>(
  fd: OwnedFd,
  options: EventLoopOptions<Data>,
): Promise<Socket<Data>> {
  // Moved out before the call: nobody who still holds `fd` may close what is Bun's.
  const number = fd.take();
  try {
    return await connect({ fd: number, ...options });
  } catch (error) {
    new OwnedFd(number).close();
    throw error;
  }
}
