/**
 * The request's way to the instance: the headers and the first bytes of the body in one write, the
 * rest as fast as the instance takes it. A body is read only when there is room for it.
 */
import { SessionError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";

export type RequestBody = Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Bodies up to this size are sent together with the headers: copying costs less than a second
 * system call.
 */
const maxJoinedBytes = 64 * 1024;

/**
 * Sends headers and body, and shuts our side down if no length was announced. Never rejects: a body
 * that fails, or is not as long as announced, fails the exchange; one the instance does not want is
 * cancelled.
 */
export async function sendBody(
  exchange: Exchange,
  head: Uint8Array,
  body: RequestBody | undefined,
  contentLength: number | undefined,
): Promise<void> {
  try {
    if (body === undefined || body instanceof Uint8Array) {
      await sendWhole(exchange, head, body ?? new Uint8Array(), contentLength);
    } else {
      await exchange.write(head);
      await sendStream(exchange, body, contentLength);
    }
    if (contentLength === undefined) exchange.endWriting();
  } catch (error) {
    exchange.fail(error);
  }
}

async function sendWhole(
  exchange: Exchange,
  head: Uint8Array,
  body: Uint8Array,
  contentLength: number | undefined,
): Promise<void> {
  checkLength(exchange, body.length, contentLength);
  if (body.length === 0) return exchange.write(head);
  if (body.length <= maxJoinedBytes) return exchange.write(Buffer.concat([head, body]));
  await exchange.write(head);
  return exchange.write(body);
}

async function sendStream(
  exchange: Exchange,
  body: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>,
  contentLength: number | undefined,
): Promise<void> {
  const source = sourceOf(body);
  exchange.onEnd(source.cancel);
  let sent = 0;
  for (;;) {
    const { done, value } = await source.next();
    if (!exchange.isWritable) return;
    if (done === true) break;
    sent += value.length;
    if (contentLength !== undefined && sent > contentLength) break;
    await exchange.write(value);
  }
  checkLength(exchange, sent, contentLength);
}

interface BodySource {
  readonly next: () => Promise<
    { done?: false; value: Uint8Array } | { done: true; value?: unknown }
  >;
  /** Tells the body that no more of it is wanted, also while `next` waits. */
  readonly cancel: () => void;
}

function sourceOf(body: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>): BodySource {
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

function checkLength(exchange: Exchange, length: number, announced: number | undefined): void {
  if (announced === undefined || length === announced) return;
  const relation = length > announced ? "more than" : `${length} of`;
  throw new SessionError(
    `${exchange.what}: its body has ${relation} the ${announced} bytes of CONTENT_LENGTH`,
    exchange.answerBegan,
  );
}
