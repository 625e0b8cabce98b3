/**
 * An instance of the scriptable spawn server: listens on descriptor 3, echoes what it is sent with
 * its process id before it, and leaves when descriptor 4, its owner pipe, closes.
 */
Bun.listen({
  fd: 3,
  allowHalfOpen: true,
  socket: {
    open: (socket: Bun.Socket) => void socket.write(`${process.pid} `),
    data: (socket: Bun.Socket, chunk: Buffer) => void socket.write(chunk),
    end: (socket: Bun.Socket) => void socket.end(),
  },
} as unknown as Bun.UnixSocketOptions);

// Nothing is ever written to it: the read ends when every writing end is closed.
await Bun.file(4).text();
process.exit(0);
