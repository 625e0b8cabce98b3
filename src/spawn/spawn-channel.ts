/**
 * The conversation with one 2.0 spawn server over its socket (PROTOCOL section 4): one question at
 * a time, answered within a time limit or not at all.
 *
 * The owner pipe arrives as a descriptor, so every read is of exact length: a larger one would
 * swallow the byte that carries it. Readability is told by SIGIO, since Bun can wait only by
 * reading; a slow look while an answer is due makes up for a signal that got lost. Nothing here
 * trusts the spawn server: what it says is bounded and checked, and what it says unasked is
 * trouble.
 */
import { SyscallError } from "../native/errno.ts";
import { DescriptorError, receiveDescriptor } from "../native/descriptors.ts";
import { inTime } from "../native/in-time.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { watchSigio } from "../native/sigio.ts";
import { receive, send } from "../native/socket.ts";
import type { ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import { Decoder } from "../wire/decoder.ts";
import { MAX_PAGE_BYTES } from "../wire/scalar-message.ts";
import {
  encodeReload,
  parseSpawnAnswer,
  parseSpawnedInstance,
  type SpawnedInstance,
} from "../wire/spawn-protocol.ts";

/** How often an answer is looked for when no signal says so. */
const safetyPollMs = 50;

/** The reason given when the socket's end comes before the process's. */
export const closedItsSocket = "it closed its socket";

/** What a spawn server answers. */
export type SpawnReply =
  | { readonly kind: "page"; readonly page: Uint8Array }
  | { readonly kind: "instance"; readonly said: SpawnedInstance; readonly ownerPipe: OwnedFd };

/** No answer within the time limit. */
export class TimeLimitError extends Error {
  override readonly name = "TimeLimitError";
}

export class SpawnChannel {
  readonly #socket: OwnedFd;
  readonly #stopWatching: () => void;
  readonly #onTrouble: (why: string) => void;
  readonly #decoder = new Decoder();
  /** Applications whose reload has not been sent yet; one of several is enough. */
  readonly #reloads = new Set<ByteString>();
  /** What is left to send of a frame that has been begun. */
  #rest: Uint8Array = new Uint8Array(0);
  #busy = false;
  /** Why nothing more will come, once that is known. */
  #ended: string | undefined;
  #wakeReader: (() => void) | undefined;

  /** @param onTrouble is called when the spawn server breaks the silence between conversations. */
  constructor(socket: OwnedFd, onTrouble: (why: string) => void) {
    this.#socket = socket;
    this.#onTrouble = onTrouble;
    this.#stopWatching = watchSigio(socket.number, () => this.#wake());
  }

  /**
   * Asks for an instance. @param deadline by performance.now(), in milliseconds.
   * @throws TimeLimitError, ProtocolError, DescriptorError, SyscallError, Error: after any of them
   * but a DescriptorError with `lost` the stream is of no more use.
   */
  async ask(question: Uint8Array, deadline: number): Promise<SpawnReply> {
    if (this.#busy) throw new Error("a conversation with the spawn server is under way");
    const unasked = this.#unaskedFor();
    if (unasked !== undefined) throw new Error(unasked);
    this.#busy = true;
    let isAnswered = false;
    try {
      await this.#send(question, deadline);
      const reply = await this.#readReply(deadline);
      isAnswered = true;
      return reply;
    } catch (error) {
      // All of the answer was read, but for the descriptor that found no room here.
      isAnswered = error instanceof DescriptorError && error.lost;
      throw error;
    } finally {
      this.#busy = false;
      if (this.#ended !== undefined) this.#closeSocket();
      // After anything else the caller ends the stream: what is left in it says nothing.
      else if (isAnswered) this.#rested();
    }
  }

  /** Asks to drop an application's cached code; sent at the latest before the next question. */
  reload(root: ByteString): void {
    this.#reloads.add(root);
    if (!this.#busy) this.#rested();
  }

  /** Nothing more will come; what has come already can still be read by a waiting `ask`. */
  end(why: string): void {
    this.#ended ??= why;
    if (this.#busy) this.#wakeReader?.();
    else this.#closeSocket();
  }

  #closeSocket(): void {
    this.#stopWatching();
    this.#socket.close();
  }

  #wake(): void {
    if (this.#busy) this.#wakeReader?.();
    else this.#rested();
  }

  /** Between conversations: sends what can be sent and makes sure that nothing comes. */
  #rested(): void {
    if (this.#ended !== undefined) return;
    let trouble = this.#unaskedFor();
    try {
      if (trouble === undefined) this.#drain();
    } catch (error) {
      trouble = causeText(error);
    }
    if (trouble !== undefined) this.#onTrouble(trouble);
  }

  #unaskedFor(): string | undefined {
    if (this.#ended !== undefined) return this.#ended;
    try {
      const found = receiveOrEnd(this.#socket.number, 1);
      if (found === "empty") return undefined;
      return found === "end" ? closedItsSocket : "it sent bytes that nobody asked for";
    } catch (error) {
      return causeText(error);
    }
  }

  /** Sends what is begun, then the reloads. @returns whether all of it went out. */
  #drain(): boolean {
    for (;;) {
      if (this.#rest.length > 0) {
        this.#rest = this.#rest.subarray(sendOrEnd(this.#socket.number, this.#rest));
        if (this.#rest.length > 0) return false;
      }
      const [root] = this.#reloads;
      if (root === undefined) return true;
      this.#reloads.delete(root);
      this.#rest = encodeReload(root);
    }
  }

  async #send(frame: Uint8Array, deadline: number): Promise<void> {
    while (!this.#drain()) await this.#changed(deadline);
    this.#rest = frame;
    while (!this.#drain()) await this.#changed(deadline);
  }

  async #readReply(deadline: number): Promise<SpawnReply> {
    const answer = parseSpawnAnswer(await this.#readArray(deadline));
    if (answer === "error_page") return { kind: "page", page: await this.#readPage(deadline) };
    const said = parseSpawnedInstance(await this.#readArray(deadline));
    for (;;) {
      const received = receiveDescriptor(this.#socket.number);
      if (received === "end") throw new Error(closedItsSocket);
      if (received !== "empty") return { kind: "instance", said, ownerPipe: received };
      await this.#changed(deadline);
    }
  }

  async #readArray(deadline: number): Promise<ByteString[]> {
    const header = await this.#readExactly(2, deadline);
    const length = (header[0] ?? 0) * 256 + (header[1] ?? 0);
    this.#decoder.push(header);
    if (length > 0) {
      this.#decoder.keepRest();
      this.#decoder.push(await this.#readExactly(length, deadline));
    }
    return decoded(this.#decoder.nextArray());
  }

  async #readPage(deadline: number): Promise<Uint8Array> {
    const header = await this.#readExactly(4, deadline);
    this.#decoder.push(header);
    const length = new DataView(header.buffer, header.byteOffset).getUint32(0);
    // The decoder refuses a length beyond the limit before anything is read for it.
    const empty = this.#decoder.nextScalar(MAX_PAGE_BYTES);
    if (empty !== undefined) return empty;
    this.#decoder.push(await this.#readExactly(length, deadline));
    return decoded(this.#decoder.nextScalar(MAX_PAGE_BYTES));
  }

  async #readExactly(length: number, deadline: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for (let have = 0; have < length;) {
      const piece = receiveOrEnd(this.#socket.number, length - have);
      if (piece === "end") throw new Error(closedItsSocket);
      if (piece === "empty") {
        await this.#changed(deadline);
      } else {
        pieces.push(piece);
        have += piece.length;
      }
    }
    return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
  }

  /** Waits until the socket may have changed. */
  async #changed(deadline: number): Promise<void> {
    if (this.#ended !== undefined) throw new Error(this.#ended);
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) throw new TimeLimitError("no answer within the time limit");
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wakeReader = resolve;
    await inTime(promise, Math.min(leftMs, safetyPollMs), () => {});
    this.#wakeReader = undefined;
  }
}

/** As send; a spawn server that is gone is told as such. */
function sendOrEnd(socket: number, data: Uint8Array): number {
  try {
    return send(socket, data);
  } catch (error) {
    throw isGone(error) ? new Error(closedItsSocket, { cause: error }) : error;
  }
}

/** As receive; one that left without reading all that was sent has ended as well. */
function receiveOrEnd(socket: number, length: number): ReturnType<typeof receive> {
  try {
    return receive(socket, length);
  } catch (error) {
    if (isGone(error)) return "end";
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof SyscallError && (error.code === "EPIPE" || error.code === "ECONNRESET");
}

/** The message whose every byte has been pushed. */
function decoded<T>(message: T | undefined): T {
  if (message === undefined) throw new Error("decoding an exact message left it incomplete");
  return message;
}
