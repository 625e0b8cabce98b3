/**
 * The body of an answer between the instance that sends it and the caller who reads it. Bytes that
 * nobody has read yet are bounded: `isFull` has the session's stream paused, and a read that makes
 * room has it go on: a paused stream reports neither data nor its end.
 */
import type { PooledRequest } from "./pooled-request.ts";

/** Unread bytes at which it is full; Bun hands out up to 512 KiB at a time. */
const fullAtBytes = 256 * 1024;

export class AnswerBody {
  /** Whose it is: it goes on when there is room again, and ends when nobody wants the rest. */
  readonly #request: PooledRequest;
  #chunks: Uint8Array[] = [];
  #unread = 0;
  #pendingRead: PromiseWithResolvers<Uint8Array | undefined> | undefined;
  #isOver = false;
  #error: { readonly cause: unknown } | undefined;

  constructor(request: PooledRequest) {
    this.#request = request;
  }

  get isFull(): boolean {
    return this.#unread >= fullAtBytes;
  }

  /** For the request, as are `end` and `fail`: the next bytes. */
  push(bytes: Uint8Array): void {
    const read = this.#pendingRead;
    this.#pendingRead = undefined;
    if (read !== undefined) return read.resolve(bytes);
    this.#chunks.push(bytes);
    this.#unread += bytes.length;
  }

  /** It is whole. */
  end(): void {
    this.#isOver = true;
    this.#pendingRead?.resolve(undefined);
    this.#pendingRead = undefined;
  }

  /** No more of it comes. */
  fail(cause: unknown): void {
    this.#isOver = true;
    this.#error = { cause };
    this.#pendingRead?.reject(cause);
    this.#pendingRead = undefined;
  }

  /**
   * The next bytes; undefined after the last. One reader at a time.
   * @throws whatever ended it (as a rejection), after the bytes that came before.
   */
  read(): Promise<Uint8Array | undefined> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#unread -= chunk.length;
      if (!this.isFull) this.#request.resume();
      return Promise.resolve(chunk);
    }
    if (this.#error !== undefined) return Promise.reject(this.#error.cause);
    if (this.#isOver) return Promise.resolve(undefined);
    this.#pendingRead = Promise.withResolvers();
    return this.#pendingRead.promise;
  }

  /** All of it, if it is here already; then nothing is left to read. */
  takeWhole(): Uint8Array | undefined {
    if (!this.#isOver || this.#error !== undefined) return undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#unread = 0;
    const [first = new Uint8Array()] = chunks;
    return chunks.length <= 1 ? first : Buffer.concat(chunks);
  }

  /** The rest is not wanted. */
  cancel(): void {
    this.#chunks = [];
    this.#unread = 0;
    this.#request.cancel();
  }
}
