/**
 * A request's way to an instance: its headers and as much of its body as is there in one write, the
 * rest as fast as the instance takes it. It sends when it is told to go on, and never waits itself.
 */
import { Arena } from "../wire/arena.ts";
import { lastChunk } from "../wire/chunked.ts";
import type { BodyFraming, FramedHead } from "../wire/session-headers.ts";
import type { SessionStream } from "./session-stream.ts";

/** One for the process. */
const arena = new Arena();
/** Of a body, copied behind what is before it. */
const stepBytes = 64 * 1024;
/** A size in hexadecimal, line ends, the last chunk. */
const frameBytes = 32;

/** A request's body as it comes. */
export interface OutgoingBody {
  /** Whether it is here, so that it can be sent again. */
  readonly isBuffered: boolean;
  readonly isSent: boolean;
  /** The next bytes to be sent, to be used before the next call; empty: there are none now. */
  peek(): Uint8Array;
  /** Bytes that `peek` has shown are sent. */
  skip(bytes: number): void;
  /** From its beginning again, if it is buffered. */
  rewind(): void;
}

export class RequestSender {
  readonly #stream: SessionStream;
  readonly #body: OutgoingBody | undefined;
  readonly #framing: BodyFraming;
  /** Until it is sent. */
  #head: string;
  /** What the kernel has not taken, beside the body. */
  #rest: Uint8Array | undefined;
  /** Whether the kernel took less than there was. */
  #isFull = false;
  #state: "under way" | "gathered" | "sent" = "under way";
  sentBytes = 0;

  constructor(stream: SessionStream, { head, framing }: FramedHead, body?: OutgoingBody) {
    this.#stream = stream;
    this.#head = head;
    this.#body = body;
    this.#framing = framing;
  }

  /** Whether the instance has all of it, and could take another request after it. */
  get isSentFramed(): boolean {
    return this.#state === "sent" && this.#framing !== "half-close";
  }

  /** Whether it is the instance that has to go on, not the visitor who sends the body. */
  get awaitsInstance(): boolean {
    return this.#state === "sent" || this.#isFull;
  }

  /** Sends what there is; to be called when there is more, or the kernel takes bytes again. */
  goOn(): void {
    this.#isFull = false;
    while (this.#state !== "sent" && this.#sendRest() && this.#sendPieces()) {
      this.#gatherWhole();
      if (arena.isEmpty && this.#state === "under way") return;
      if (!arena.isEmpty && !this.#write(arena.take())) return;
      if (this.#state === "gathered") this.#end();
    }
  }

  /** Large pieces, from where they are. @returns whether the kernel took all of them. */
  #sendPieces(): boolean {
    const body = this.#body;
    if (body === undefined || this.#head !== "" || this.#framing === "chunked") return true;
    for (let piece = body.peek(); piece.length >= stepBytes; piece = body.peek()) {
      const sent = this.#push(piece);
      body.skip(sent);
      if (sent < piece.length) return false;
    }
    return true;
  }

  /** @throws what `peek` throws; then nothing is left in the arena, which belongs to all. */
  #gatherWhole(): void {
    try {
      this.#gather();
    } catch (error) {
      arena.take();
      throw error;
    }
  }

  #gather(): void {
    if (this.#head !== "") {
      arena.putText(this.#head);
      this.#head = "";
    }
    const body = this.#body;
    if (body !== undefined) this.#gatherBody(body);
    if (this.#state !== "under way" || body?.isSent === false) return;
    this.#state = "gathered";
    if (this.#framing === "chunked") arena.put(lastChunk);
  }

  #gatherBody(body: OutgoingBody): void {
    while (arena.hasRoom(stepBytes + frameBytes)) {
      const piece = body.peek();
      if (piece.length === 0) return;
      this.#gatherPiece(piece.subarray(0, stepBytes));
      body.skip(Math.min(piece.length, stepBytes));
      // Behind the head a first step; the rest goes out from where it is.
      if (piece.length > stepBytes && this.#framing !== "chunked") return;
    }
  }

  #gatherPiece(piece: Uint8Array): void {
    if (this.#framing !== "chunked") return arena.put(piece);
    arena.putText(`${piece.length.toString(16)}\r\n`);
    arena.put(piece);
    arena.putText("\r\n");
  }

  #sendRest(): boolean {
    const rest = this.#rest;
    this.#rest = undefined;
    const isSent = rest === undefined || this.#write(rest);
    if (isSent && this.#state === "gathered") this.#end();
    return isSent;
  }

  /** @returns whether the kernel took all of it. */
  #write(bytes: Uint8Array): boolean {
    const sent = this.#push(bytes);
    if (sent === bytes.length) return true;
    // A copy: `slice` of a Buffer is none, and the arena belongs to all.
    this.#rest = new Uint8Array(bytes.subarray(sent));
    return false;
  }

  /** @returns how many bytes the kernel took. */
  #push(bytes: Uint8Array): number {
    const sent = this.#stream.write(bytes);
    // It is closed: what could not be written does not matter, and its end is on its way.
    if (sent < 0) return bytes.length;
    this.sentBytes += sent;
    this.#isFull = sent < bytes.length;
    return sent;
  }

  #end(): void {
    this.#state = "sent";
    if (this.#framing === "half-close") this.#stream.endWriting();
  }
}
