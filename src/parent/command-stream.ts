/**
 * The commands of one client of the server, and the replies to them. Untagged commands are answered
 * in the order in which they were sent, so whatever untagged reply comes belongs to the oldest.
 * When the connection ends, whatever waits for an answer is rejected, once, with the reason.
 */
import type { Socket } from "bun";
import { SyscallError } from "../native/errno.ts";
import { putOnEventLoop } from "../native/event-loop.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { toText } from "../wire/bytes.ts";
import { type Command, encodeCommand } from "../wire/commands.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import type { Reply } from "../wire/replies.ts";
import { BusyError, ConfigureError, PoolError } from "./errors.ts";
import * as refusals from "./refusals.ts";
import { ReplyStream, type StreamReply } from "./reply-stream.ts";
import { SendBuffer } from "./send-buffer.ts";

/** What is said of gets and their sessions: not the answer to the oldest command. */
export type SessionReply = Extract<Reply, { kind: "session" | "refusal" | "recall" }>;

interface StreamOwner {
  /** The server has said anything. */
  heard?(): void;
  /** @throws ProtocolError: nobody asked for it. */
  told(reply: SessionReply): void;
  /** It has ended, once. */
  ended(why: refusals.EndReason): void;
}

/** A reply as the answer to its command, or as its error; undefined: it is no reply to it. */
type ReadAnswer<T> = (reply: StreamReply) => { readonly value: T } | PoolError | undefined;

interface Awaited {
  readonly what: string;
  readonly isJson: boolean;
  readonly settle: (reply: StreamReply) => void;
  readonly reject: (error: PoolError) => void;
}

/** Together with the gets that are sent, below the 1,000 commands a client may have waiting. */
const maxAwaited = 300;

export class CommandStream {
  readonly #owner: StreamOwner;
  readonly #replies = new ReplyStream();
  readonly #awaited: Awaited[] = [];
  readonly #unsent = new SendBuffer(() => this.end(refusals.stoppedReading));
  #socket: Socket<CommandStream> | undefined;
  #ended: refusals.EndReason | undefined;

  constructor(owner: StreamOwner) {
    this.#owner = owner;
  }

  /** Puts the connection on the event loop; owns it from then on. */
  async attach(connection: OwnedFd): Promise<void> {
    this.#socket = await putOnEventLoop(connection, { data: this, socket: handlers });
  }

  /** Once it has ended: the error for whatever is asked of it. */
  get whyEnded(): refusals.EndReason | undefined {
    return this.#ended;
  }

  get socket(): Pick<Socket, "ref" | "unref"> | undefined {
    return this.#socket;
  }

  /** Sends a command, or the frames of one. */
  send(command: Command | Uint8Array): void {
    if (this.#socket === undefined) return;
    this.#unsent.push("kind" in command ? encodeCommand(command) : command, this.#socket);
  }

  /** The same for one that has no answer. @throws the error of a stream that has ended. */
  tell(command: Command): void {
    if (this.#ended !== undefined) throw this.#ended(command.kind);
    this.send(command);
  }

  /** A command, with its scalar if it has one, that is answered `ok`, or by an `error`. */
  ask(command: Command, scalar?: Uint8Array): Promise<void> {
    return this.#await(command, scalar, (reply) => {
      if (reply.kind === "error") return new ConfigureError(toText(reply.message));
      return reply.kind === "ok" ? { value: undefined } : undefined;
    });
  }

  askForNumber(command: Command): Promise<number> {
    return this.#await(command, undefined, (reply) =>
      reply.kind === "decimal" ? reply : undefined,
    );
  }

  askForJson<T>(command: Extract<Command, { kind: "inspect" | "recentOutput" }>): Promise<T> {
    return this.#await(command, undefined, (reply) =>
      reply.kind === "snapshot" ? { value: parseJson(reply.json) as T } : undefined,
    );
  }

  /** Ends it, and rejects whatever waits. */
  end(why: refusals.EndReason): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    if (this.#socket !== undefined) {
      this.#unsent.flush(this.#socket);
      this.#socket.end();
    }
    for (const { what, reject } of this.#awaited.splice(0)) reject(why(what));
    this.#owner.ended(why);
  }

  received(chunk: Buffer): void {
    this.#owner.heard?.();
    try {
      this.#replies.push(chunk);
      while (this.#ended === undefined) {
        const reply = this.#replies.next(this.#awaited[0]?.isJson === true);
        if (reply === undefined) return;
        if (isOfSession(reply)) this.#owner.told(reply);
        else this.#answered(reply);
      }
    } catch (cause) {
      const isTheirs = cause instanceof ProtocolError || cause instanceof SyscallError;
      if (!isTheirs) throw cause;
      this.end(refusals.broken(cause));
    }
  }

  drained(socket: Socket<CommandStream>): void {
    this.#unsent.drained(socket);
  }

  #await<T>(command: Command, scalar: Uint8Array | undefined, read: ReadAnswer<T>): Promise<T> {
    const { kind: what } = command;
    if (this.#ended !== undefined) return Promise.reject(this.#ended(what));
    if (this.#awaited.length >= maxAwaited) {
      return Promise.reject(new BusyError(`${what}: too many questions wait on this connection`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const settle = (reply: StreamReply): void => {
      const answer = read(reply);
      if (answer === undefined) throw new ProtocolError(`a ${reply.kind} reply to ${what}`);
      if (answer instanceof PoolError) reject(answer);
      else resolve(answer.value);
    };
    const isJson = what === "inspect" || what === "recentOutput";
    this.#awaited.push({ what, isJson, settle, reject });
    const head = encodeCommand(command);
    this.send(scalar === undefined ? head : Buffer.concat([head, scalar]));
    return promise;
  }

  #answered(reply: StreamReply): void {
    const [oldest] = this.#awaited;
    if (oldest === undefined) throw new ProtocolError(`a ${reply.kind} reply to nothing`);
    // It leaves only when the reply fits: else it is rejected with the connection.
    oldest.settle(reply);
    this.#awaited.shift();
  }
}

const handlers: Bun.SocketHandler<CommandStream> = {
  data: (socket, chunk) => socket.data.received(chunk),
  drain: (socket) => socket.data.drained(socket),
  close: (socket) => socket.data.end(refusals.closedByServer),
  error: () => {}, // close follows
};

function isOfSession(reply: StreamReply): reply is SessionReply {
  return reply.kind === "session" || reply.kind === "refusal" || reply.kind === "recall";
}

function parseJson(json: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(json).toString("utf8"));
  } catch (cause) {
    throw new ProtocolError("the snapshot is not JSON", { cause });
  }
}
