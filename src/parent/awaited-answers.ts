/**
 * Untagged commands that wait for their answers. The server answers them in the order they were
 * sent, so whatever untagged reply comes belongs to the oldest.
 */
import { ProtocolError } from "../wire/protocol-error.ts";
import { PoolError } from "./errors.ts";
import type { EndReason } from "./refusals.ts";
import type { StreamReply } from "./reply-stream.ts";

/**
 * What a reply means to its command: its answer, the error it is rejected with, or undefined: it is
 * no reply to this command.
 */
export type ReadAnswer<T> = (reply: StreamReply) => { readonly value: T } | PoolError | undefined;

/** Together with the gets that are sent, below the 1,000 commands a client may have waiting. */
const maxAwaited = 300;

interface Awaited {
  readonly what: string;
  readonly isSnapshot: boolean;
  readonly settle: (reply: StreamReply) => void;
  readonly reject: (error: PoolError) => void;
}

export class AwaitedAnswers {
  readonly #awaited: Awaited[] = [];

  /** Whether one more command may be sent. */
  get hasRoom(): boolean {
    return this.#awaited.length < maxAwaited;
  }

  /** Whether the next untagged answer is a snapshot. */
  get awaitsSnapshot(): boolean {
    return this.#awaited[0]?.isSnapshot === true;
  }

  /** The answer to a command that has just been sent; `what` is how errors call it. */
  next<T>(what: string, isSnapshot: boolean, read: ReadAnswer<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (reply: StreamReply): void => {
        const answer = read(reply);
        if (answer === undefined) throw new ProtocolError(`a ${reply.kind} reply to ${what}`);
        if (answer instanceof PoolError) reject(answer);
        else resolve(answer.value);
      };
      this.#awaited.push({ what, isSnapshot, settle, reject });
    });
  }

  /** Hands an untagged reply to the oldest command. @throws ProtocolError when it does not fit. */
  settle(reply: StreamReply): void {
    const [oldest] = this.#awaited;
    if (oldest === undefined) throw new ProtocolError(`a ${reply.kind} reply to nothing`);
    // It leaves only when the reply fits: else it is rejected with the connection.
    oldest.settle(reply);
    this.#awaited.shift();
  }

  rejectAll(why: EndReason): void {
    for (const awaited of this.#awaited.splice(0)) awaited.reject(why(awaited.what));
  }
}
