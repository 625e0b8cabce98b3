/**
 * The answer of an instance: status and headers at once, the body as a stream, or all at once for
 * those who want it whole. One way of reading, once.
 */
import { type AnswerHead, headersOf } from "../wire/answer-head.ts";
import type { AnswerBody } from "./answer-body.ts";

export class SessionResponse {
  /** 100 to 999. */
  readonly status: number;
  /** What followed the number; may be empty. */
  readonly statusText: string;
  /** In the instance's order, repetitions kept; values are byte strings (a byte a character). */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The instance that answers. */
  readonly pid: number;
  /** How long the request waited for a session with it, in milliseconds. */
  readonly waitedMs: number;
  /** How long the body is, if its Content-Length says so. */
  readonly bodyLength: number | undefined;
  readonly #answer: AnswerBody;
  #body: ReadableStream<Uint8Array> | undefined;

  constructor(head: AnswerHead, answer: AnswerBody, pid: number, waitedMs: number) {
    this.pid = pid;
    this.waitedMs = waitedMs;
    this.status = head.status;
    this.statusText = head.reason;
    this.headers = headersOf(head);
    this.#answer = answer;
    const { framing } = head;
    const said = framing.kind === "length" ? framing.bytes : undefined;
    this.bodyLength = framing.kind === "none" ? 0 : said;
  }

  /**
   * The body. It errors with SessionError where the answer was cut short; cancelling it ends the
   * session. Bytes are only fetched as they are read.
   */
  get body(): ReadableStream<Uint8Array> {
    this.#body ??= streamOf(this.#answer);
    return this.#body;
  }

  /** The next bytes of the body, undefined after the last. Not after `body`. */
  read(): Promise<Uint8Array | undefined> {
    return this.#answer.read();
  }

  /**
   * The body, if all of it has arrived with the head, as with short answers it mostly has: cheaper
   * than a stream. undefined: read it as a stream. Not after `body`.
   */
  takeWholeBody(): Uint8Array | undefined {
    return this.#answer.takeWhole();
  }

  /** All of the body. Not after `body`. @throws SessionError where it was cut short (rejection). */
  async bytes(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (let chunk = await this.#answer.read(); chunk; chunk = await this.#answer.read()) {
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
    this.#answer.cancel();
  }
}

function streamOf(answer: AnswerBody): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        const chunk = await answer.read();
        if (chunk === undefined) controller.close();
        else controller.enqueue(chunk);
      },
      cancel(): void {
        answer.cancel();
      },
    },
    // Nothing is fetched ahead of the reader: it keeps a bounded store of its own.
    { highWaterMark: 0 },
  );
}
