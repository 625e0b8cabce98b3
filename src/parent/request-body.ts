/**
 * The request's way to the instance: the headers and the first bytes of the body in one write, the
 * rest as fast as the instance takes it. A body is read only when there is room for it.
 */
import { encodeChunk, lastChunk } from "../wire/chunked.ts";
import { SessionError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";

export type RequestBody = Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;
type StreamedBody = Exclude<RequestBody, Uint8Array>;

/** How the instance learns where the body ends. */
export type BodyFraming =
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  /** Our side of the stream is shut down. */
  | { readonly kind: "half-close" };

/**
 * Bodies up to this size are sent together with the headers: copying costs less than a second
 * system call.
 */
const maxJoinedBytes = 64 * 1024;

/**
 * Sends headers and body, and says where the body ends. Never throws: a body that fails, or is not
 * as long as announced, fails the exchange; one the instance does not want is cancelled.
 */
export function sendRequest(
  exchange: Exchange,
  head: Uint8Array,
  body: RequestBody | undefined,
  framing: BodyFraming,
): void {
  if (body !== undefined && !(body instanceof Uint8Array)) {
    sendStream(exchange, head, body, framing).catch((error: unknown) => exchange.fail(error));
    return;
  }
  const bytes = body ?? new Uint8Array();
  const wrong = framing.kind === "length" && wrongLength(exchange, bytes.length, framing.bytes);
  if (wrong) return exchange.fail(wrong);
  const end = (): void => exchange.endRequest(framing.kind === "half-close");
  if (bytes.length === 0) return exchange.send(head, end);
  if (bytes.length <= maxJoinedBytes) return exchange.send(Buffer.concat([head, bytes]), end);
  exchange.send(head, () => exchange.send(bytes, end));
}

async function sendStream(
  exchange: Exchange,
  head: Uint8Array,
  body: StreamedBody,
  framing: BodyFraming,
): Promise<void> {
  const source = sourceOf(body);
  exchange.onEnd(source.cancel);
  await exchange.write(head);
  let sent = 0;
  for (;;) {
    const { done, value } = await source.next();
    if (!exchange.isWritable) return;
    if (done === true) break;
    sent += value.length;
    if (framing.kind === "length" && sent > framing.bytes) break;
    if (value.length === 0) continue;
    await exchange.write(framing.kind === "chunked" ? encodeChunk(value) : value);
  }
  const wrong = framing.kind === "length" && wrongLength(exchange, sent, framing.bytes);
  if (wrong) throw wrong;
  if (framing.kind === "chunked") await exchange.write(lastChunk);
  exchange.endRequest(framing.kind === "half-close");
}

interface BodySource {
  readonly next: () => Promise<
    { done?: false; value: Uint8Array } | { done: true; value?: unknown }
  >;
  /** Tells the body that no more of it is wanted, also while `next` waits. */
  readonly cancel: () => void;
}

function sourceOf(body: StreamedBody): BodySource {
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

/** The error of a body that is not as long as announced. */
function wrongLength(
  exchange: Exchange,
  length: number,
  announced: number,
): SessionError | undefined {
  if (length === announced) return undefined;
  const relation = length > announced ? "more than" : `${length} of`;
  return new SessionError(
    `${exchange.what}: its body has ${relation} the ${announced} bytes of CONTENT_LENGTH`,
    exchange.answerBegan,
  );
}
