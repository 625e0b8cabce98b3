/**
 * A raw stream socket on Bun's event loop. From then on the number is Bun's: nobody else closes it,
 * and nobody writes on it after its `close`. Bun's reader drops descriptors: not for sockets on
 * which they arrive.
 */
import type { Socket, SocketHandler } from "bun";

import { OwnedFd } from "./owned-fd.ts";

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

/** Moves the descriptor onto the event loop; one that is refused is closed. */
export async function putOnEventLoop<Data>(
  fd: OwnedFd,
  options: EventLoopOptions<Data>,
): Promise<Socket<Data>> {
  const number = fd.take(); // Bun's from the call on, not from its answer on
  try {
    return await connect({ fd: number, ...options });
  } catch (error) {
    new OwnedFd(number).close();
    throw error;
  }
}

/** The number of a socket on the event loop, whose it stays. Bun's types do not tell. */
export function fdOf(socket: object): number {
  return (socket as { readonly fd: number }).fd;
}

/** Resolves when the event loop has asked for I/O, as it does between two immediates. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });
}
