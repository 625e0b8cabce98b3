/**
 * A request's way to an instance: its headers and as much of its body as is there in one write, the
 * rest as fast as the instance takes it. It sends when it is told to go on, and never waits itself.
 */
import type { SessionStream } from "../../parent/session-stream.ts";
import { lastChunk } from "../../wire/chunked.ts";
import { Arena } from "../bodies/arena.ts";
import type { Upload } from "../bodies/upload.ts";

/** One for the worker. */
const arena = new Arena();
/** Of a body, copied behind what is before it. */
const stepBytes = 64 * 1024;
/** A size in hexadecimal, line ends, the last chunk. */
const frameBytes = 32;

/** How the instance learns where the body ends. */
export type UploadFraming = "length" | "chunked" | "half-close";

export class RequestSender {
  readonly #stream: SessionStream;
  readonly #upload: Upload | undefined;
  readonly #framing: UploadFraming;
  /** Until it is sent. */
  #head: string;
  /** What the kernel has not taken. */
  #rest: Uint8Array | undefined;
  #state: "under way" | "gathered" | "sent" = "under way";
  /** Bytes that the kernel has taken. */
  sentBytes = 0;

  /** @param head all that comes before the body; each character is a byte. */
  constructor(
    stream: SessionStream,
    head: string,
    upload: Upload | undefined,
    framing: UploadFraming,
  ) {
    this.#stream = stream;
    this.#head = head;
    this.#upload = upload;
    this.#framing = framing;
  }

  /** Whether the instance has all of it, and could take another request after it. */
  get isSentFramed(): boolean {
    return this.#state === "sent" && this.#framing !== "half-close";
  }

  /** Whether it is the instance that has to go on, not the visitor who sends the body. */
  get awaitsInstance(): boolean {
    return this.#state === "sent" || this.#rest !== undefined;
  }

  /** Sends what there is; to be called when there is more, or the kernel takes bytes again. */
  goOn(): void {
    while (this.#state !== "sent" && this.#sendRest()) {
      this.#gatherWhole();
      if (arena.isEmpty && this.#state === "under way") return;
      if (!arena.isEmpty && !this.#write(arena.take())) return;
      if (this.#state === "gathered") this.#end();
    }
  }

  /** @throws SpoolError; then nothing is left in the arena, which belongs to all. */
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
    const upload = this.#upload;
    if (upload !== undefined) this.#gatherBody(upload);
    if (this.#state !== "under way" || upload?.isSent === false) return;
    this.#state = "gathered";
    if (this.#framing === "chunked") arena.put(lastChunk);
  }

  #gatherBody(upload: Upload): void {
    while (arena.hasRoom(stepBytes + frameBytes)) {
      const piece = upload.peek().subarray(0, stepBytes);
      if (piece.length === 0) return;
      this.#gatherPiece(piece);
      upload.skip(piece.length);
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
    const sent = this.#stream.write(bytes);
    // It is closed: what could not be written does not matter, and its end is on its way.
    if (sent < 0) return true;
    this.sentBytes += sent;
    if (sent === bytes.length) return true;
    // A copy: `slice` of a Buffer is none, and the arena belongs to all.
    this.#rest = new Uint8Array(bytes.subarray(sent));
    return false;
  }

  #end(): void {
    this.#state = "sent";
    if (this.#framing === "half-close") this.#stream.endWriting();
  }
}
