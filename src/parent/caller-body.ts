/**
 * The body of a caller's request on its way to an instance: bytes that are here, or a source that
 * is asked for its next piece when the one before is on its way.
 */
import type { PooledRequest } from "./pooled-request.ts";
import type { OutgoingBody } from "./request-sender.ts";

export type RequestBody = Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

export class CallerBody implements OutgoingBody {
  readonly isBuffered: boolean;
  readonly #body: RequestBody;
  readonly #request: PooledRequest;
  readonly #announced: number | undefined;
  #source: BodySource | undefined;
  #piece: Uint8Array;
  #come: number;
  #state: "idle" | "reading" | "whole";

  /** @param announced its length as the headers say. */
  constructor(body: RequestBody, request: PooledRequest, announced: number | undefined) {
    this.isBuffered = body instanceof Uint8Array;
    this.#body = body;
    this.#request = request;
    this.#announced = announced;
    this.#piece = body instanceof Uint8Array ? body : new Uint8Array();
    this.#come = this.#piece.length;
    this.#state = this.isBuffered ? "whole" : "idle";
  }

  /** If it is known before. */
  get length(): number | undefined {
    return this.isBuffered ? this.#come : undefined;
  }

  get isSent(): boolean {
    return this.#state === "whole" && this.#piece.length === 0;
  }

  peek(): Uint8Array {
    const body = this.#body;
    const isWanted = this.#piece.length === 0 && this.#state === "idle";
    if (isWanted && !(body instanceof Uint8Array)) void this.#read(body);
    return this.#piece;
  }

  skip(bytes: number): void {
    this.#piece = this.#piece.subarray(bytes);
  }

  rewind(): void {
    if (this.#body instanceof Uint8Array) this.#piece = this.#body;
  }

  /** Nobody wants the rest of it. */
  cancel(): void {
    this.#state = "whole";
    this.#source?.cancel();
  }

  async #read(body: Exclude<RequestBody, Uint8Array>): Promise<void> {
    this.#state = "reading";
    try {
      this.#source ??= sourceOf(body);
      const { done, value } = await this.#source.next();
      if (this.#state !== "reading") return;
      this.#state = done === true ? "whole" : "idle";
      if (done !== true) this.#piece = value;
      this.#come += this.#piece.length;
      const announced = this.#announced ?? this.#come;
      const isShort = done === true && this.#come < announced;
      if (isShort || this.#come > announced) throw wrongLength(this.#come, announced);
      this.#request.bodyGrew();
    } catch (error) {
      this.#request.bodyFailed(error);
    }
  }
}

/** What a request cannot be sent for, without whom it was for. */
export class UnsendableError extends Error {}

/** Of a body that is not as long as announced. */
export function wrongLength(length: number, announced: number): UnsendableError {
  const relation = length > announced ? "more than" : `${length} of`;
  return new UnsendableError(`its body has ${relation} the ${announced} bytes of CONTENT_LENGTH`);
}

interface BodySource {
  readonly next: () => Promise<
    { done?: false; value: Uint8Array } | { done: true; value?: unknown }
  >;
  /** Tells the body that no more of it is wanted, also while `next` waits. */
  readonly cancel: () => void;
}

function sourceOf(body: Exclude<RequestBody, Uint8Array>): BodySource {
  if (body instanceof ReadableStream) {
    const reader = body.getReader();
    // What the source makes of being cancelled concerns nobody here.
    return { next: () => reader.read(), cancel: () => void reader.cancel().catch(() => {}) };
  }
  const iterator = body[Symbol.asyncIterator]();
  return {
    next: () => iterator.next(),
    cancel: () => void iterator.return?.().then(undefined, () => {}),
  };
}
