/**
 * The parent's end of the server's descriptor 3. One byte written asks for one connection, which
 * comes back as a descriptor. Every process that shares the socket may take any connection: they
 * are interchangeable, so whoever asked takes whichever comes.
 *
 * The socket is shared with other processes: it stays in blocking mode, is only used with calls
 * that do not wait, and is never read past one descriptor's byte.
 */
import { DescriptorError, receiveDescriptor } from "../native/descriptors.ts";
import { SyscallError } from "../native/errno.ts";
import { setCloseOnExec } from "../native/fd.ts";
import { OwnedFd } from "../native/owned-fd.ts";
import { receive, send, whyNotStream } from "../native/socket.ts";
import { escapeForLog, fromBytes } from "../wire/bytes.ts";
import { encodeCommand } from "../wire/commands.ts";
import { encodePlainOk } from "../wire/replies.ts";
import { GoneForGoodError, PoolError, PoolIOError, ServerGoneError } from "./errors.ts";
import { retry } from "./retry.ts";

const wakeByte = new Uint8Array(1);
const connecting = "connect to the pool server";
const closed = `${connecting}: it has closed the connection`;
const disconnects = new Set(["EPIPE", "ECONNRESET", "ENOTCONN"]);

/** The two descriptors of a multiplexed client: its connection, and where its sessions arrive. */
export interface ChannelledConnection {
  readonly connection: OwnedFd;
  readonly channel: OwnedFd;
}

export class WakeSocket {
  readonly #fd: OwnedFd;

  /** Takes ownership, unless it @throws PoolError: it is no connected Unix stream socket. */
  constructor(fd: OwnedFd) {
    const why = whyNotStream(fd.number);
    if (why !== undefined) throw new PoolError(`wake socket on descriptor ${fd.number}: ${why}`);
    setCloseOnExec(fd.number, true);
    this.#fd = fd;
  }

  /** The descriptor's number, for handing the socket on to a worker process; it stays ours. */
  get number(): number {
    return this.#fd.number;
  }

  /**
   * A new connection with its descriptor channel (PROTOCOL.md section 9), within about `limitMs`.
   * @throws ServerGoneError (GoneForGoodError if this socket has ended), PoolIOError (no answer in
   * time, or no descriptor free in this process).
   */
  async connect(limitMs: number): Promise<ChannelledConnection> {
    const deadline = performance.now() + limitMs;
    const connection = await guarded(() => this.#receiveConnection(limitMs), GoneForGoodError);
    try {
      const leftMs = Math.max(1, deadline - performance.now());
      const channel = await guarded(() => openChannel(connection, leftMs));
      return { connection, channel };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Closes this process's copy. */
  close(): void {
    this.#fd.close();
  }

  async #receiveConnection(limitMs: number): Promise<OwnedFd> {
    const deadline = performance.now() + limitMs;
    const asked = await retry(limitMs, () => send(this.#use(), wakeByte) === 1 || undefined);
    const leftMs = Math.max(0, deadline - performance.now());
    const received = asked && (await retry(leftMs, () => arrivedOn(this.#use(), GoneForGoodError)));
    if (received === undefined) throw tooLate(connecting, limitMs);
    return received;
  }

  #use(): number {
    if (this.#fd.open) return this.#fd.number;
    throw new PoolError(`${connecting}: the wake socket has been closed here`);
  }
}

/** Says `openDescriptorChannel` and takes what answers it: an `ok`, then the descriptor. */
async function openChannel(connection: OwnedFd, limitMs: number): Promise<OwnedFd> {
  const fd = connection.number;
  // A fresh socket has room for far more than this one command.
  send(fd, encodeCommand({ kind: "openDescriptorChannel" }));
  let frame = Buffer.alloc(0);
  const answer = await retry(limitMs, () => {
    // Exact lengths: a byte more would swallow the descriptor that follows.
    for (let missing = missingBytes(frame); missing > 0; missing = missingBytes(frame)) {
      const bytes = receive(fd, missing);
      if (bytes === "empty") return undefined;
      if (bytes === "end") throw new ServerGoneError(closed);
      frame = Buffer.concat([frame, bytes]);
    }
    return frame;
  });
  if (answer === undefined) throw tooLate("open a descriptor channel", limitMs);
  if (!answer.equals(encodePlainOk())) {
    const shown = escapeForLog(fromBytes(answer));
    throw new PoolIOError(`open a descriptor channel: the server answered '${shown}'`);
  }
  const channel = await retry(limitMs, () => arrivedOn(fd));
  if (channel === undefined) throw tooLate("open a descriptor channel", limitMs);
  return channel;
}

/** How many bytes an array message that begins with `frame` still lacks, as far as can be told. */
function missingBytes(frame: Buffer): number {
  return 2 + (frame.length < 2 ? 0 : frame.readUInt16BE(0)) - frame.length;
}

function arrivedOn(fd: number, Gone = ServerGoneError): OwnedFd | undefined {
  const received = receiveDescriptor(fd);
  if (received === "end") throw new Gone(closed);
  return received === "empty" ? undefined : received;
}

function tooLate(what: string, limitMs: number): PoolIOError {
  return new PoolIOError(`${what}: no answer within ${Math.round(limitMs)} ms`);
}

/** Gives system call errors the names a parent can act on. */
async function guarded<T>(action: () => Promise<T>, Gone = ServerGoneError): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (!(cause instanceof SyscallError || cause instanceof DescriptorError)) throw cause;
    const isDisconnect = cause instanceof SyscallError && disconnects.has(cause.code);
    const Named = isDisconnect ? Gone : PoolIOError;
    throw new Named(`${connecting}: ${cause.message}`, { cause });
  }
}
