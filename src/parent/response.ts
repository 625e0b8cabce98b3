/**
 * The answer of an instance: status and headers at once, the body as a stream, or all at once for
 * those who want it whole. One way of reading, once.
 */
import { type AnswerHead, headersOf } from "../wire/answer-head.ts";
import type { Exchange } from "./exchange.ts";

export class SessionResponse {
  /** 100 to 999. */
  readonly status: number;
  /** What followed the number; may be empty. */
  readonly statusText: string;
  /**
   * In the instance's order, repetitions kept; values are byte strings (each character one byte).
   */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The instance that answers. */
  readonly pid: number;
  /** How long the request waited for a session with it, in milliseconds. */
  readonly waitedMs: number;
  readonly #exchange: Exchange;
  #body: ReadableStream<Uint8Array> | undefined;

  constructor(head: AnswerHead, exchange: Exchange, waitedMs = 0) {
    this.pid = exchange.pid;
    this.waitedMs = waitedMs;
    this.status = head.status;
    this.statusText = head.reason;
    this.headers = headersOf(head);
    this.#exchange = exchange;
  }

  /**
   * The body. It errors with SessionError where the answer was cut short; cancelling it ends the
   * session. Bytes are only fetched as they are read.
   */
  get body(): ReadableStream<Uint8Array> {
    this.#body ??= streamOf(this.#exchange);
    return this.#body;
  }

  /** How long the body is, if its Content-Length says so. */
  get bodyLength(): number | undefined {
    return this.#exchange.bodyLength;
  }

  /** The next bytes of the body, undefined after the last. Not after `body`. */
  read(): Promise<Uint8Array | undefined> {
    return this.#exchange.read();
  }

  /**
   * The body, if all of it has arrived with the head, as with short answers it mostly has: cheaper
   * than a stream. undefined: read it as a stream. Not after `body`.
   */
  takeWholeBody(): Uint8Array | undefined {
    return this.#exchange.takeWhole();
  }

  /**
   * All of the body. Not after `body`. @throws SessionError where it was cut short (as a
   * rejection).
   */
  async bytes(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (let chunk = await this.#exchange.read(); chunk; chunk = await this.#exchange.read()) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** All of the body as UTF-8. */
  async text(): Promise<string> {
    return Buffer.from(await this.bytes()).toString("utf8");
  }

  /** Ends the session without reading on. */
  cancel(): void {
    this.#exchange.cancel();
  }
}

function streamOf(exchange: Exchange): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        const chunk = await exchange.read();
        if (chunk === undefined) controller.close();
        else controller.enqueue(chunk);
      },
      cancel(): void {
        exchange.cancel();
      },
    },
    // Nothing is fetched ahead of the reader: the exchange keeps its own bounded store.
    { highWaterMark: 0 },
  );
}
