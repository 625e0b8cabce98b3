/**
 * The body of an answer between the instance that sends it and the caller who reads it. Bytes that
 * nobody has read yet are bounded: `isFull` has the session's stream paused, and a read that makes
 * room has it go on: a paused stream reports neither data nor its end.
 */

/** Unread bytes at which it is full; Bun hands out up to 512 KiB at a time. */
const fullAtBytes = 256 * 1024;

/** Who sends it. */
interface AnswerSource {
  /** There is room again. */
  resume(): void;
  /** Nobody wants the rest. */
  cancel(): void;
}

interface PendingRead {
  readonly resolve: (bytes: Uint8Array | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class AnswerBody {
  readonly #source: AnswerSource;
  #chunks: Uint8Array[] = [];
  #unread = 0;
  #pendingRead: PendingRead | undefined;
  #isOver = false;
  #error: { readonly cause: unknown } | undefined;

  constructor(source: AnswerSource) {
    this.#source = source;
  }

  get isFull(): boolean {
    return this.#unread >= fullAtBytes;
  }

  /** For its source, as are `end` and `fail`: the next bytes. */
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
      if (!this.isFull) this.#source.resume();
      return Promise.resolve(chunk);
    }
    if (this.#error !== undefined) return Promise.reject(this.#error.cause);
    if (this.#isOver) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#pendingRead = { resolve, reject };
    });
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
    this.#source.cancel();
  }
}
