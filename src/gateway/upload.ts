/**
 * A request's body on its way: says when there is no more of it, and ends it where it becomes too
 * large. A length that is announced has been checked before; this is for bodies in chunks.
 */
import { BodyTooLargeError } from "./proxy-errors.ts";

export class Upload implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #maxBytes: number;
  readonly #uploaded: () => void;
  #bytes = 0;

  /** @param maxBytes 0: no limit. @param uploaded called when the body is whole. */
  constructor(body: ReadableStream<Uint8Array>, maxBytes: number, uploaded: () => void) {
    this.#reader = body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.#maxBytes = maxBytes;
    this.#uploaded = uploaded;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @throws BodyTooLargeError, or what Bun says when the body breaks off (as rejections). */
  async next(): Promise<IteratorResult<Uint8Array>> {
    const { done, value } = await this.#reader.read();
    if (done) {
      this.#uploaded();
      return { done: true, value: undefined };
    }
    this.#bytes += value.length;
    if (this.#maxBytes > 0 && this.#bytes > this.#maxBytes) {
      throw new BodyTooLargeError(`the body has more than ${this.#maxBytes} bytes`);
    }
    return { done, value };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.#reader.cancel();
    return { done: true, value: undefined };
  }
}
