/**
 * The body of a request as it comes in: where it ends (RFC 9112, 6 and 7.1), what it holds, and no
 * more than it may. Extensions of chunks and trailers are read over, within bounds.
 */
import { ChunkedDecoder } from "../wire/chunked.ts";
import { ProtocolError } from "../wire/protocol-error.ts";
import { refusals, type Refusal } from "./refusals.ts";
import type { RequestFraming } from "./request-head.ts";

export class BodyReader {
  /** Bytes still to come of a body with a length. */
  #missing: number;
  readonly #chunked: ChunkedDecoder | undefined;

  constructor(framing: RequestFraming) {
    this.#missing = framing.kind === "length" ? framing.bytes : 0;
    this.#chunked = framing.kind === "chunked" ? new ChunkedDecoder() : undefined;
  }

  /** Whether all of it has come. */
  get isWhole(): boolean {
    return this.#chunked === undefined ? this.#missing === 0 : this.#chunked.isDone;
  }

  /**
   * Takes the next bytes and hands out what they hold of the body, as views.
   * @returns how many bytes were taken: all of them, unless the body has ended; or why not.
   */
  push(data: Uint8Array, deliver: (part: Uint8Array) => void): number | Refusal {
    if (this.#chunked === undefined) return this.#pushPlain(data, deliver);
    try {
      return this.#chunked.push(data, deliver);
    } catch (error) {
      if (error instanceof ProtocolError) return refusals.chunk;
      throw error;
    }
  }

  #pushPlain(data: Uint8Array, deliver: (part: Uint8Array) => void): number {
    const taken = Math.min(data.length, this.#missing);
    if (taken === 0) return 0;
    this.#missing -= taken;
    deliver(taken === data.length ? data : data.subarray(0, taken));
    return taken;
  }
}
