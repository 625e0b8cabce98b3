/**
 * Sends a Response on a session, in CGI form; framed where the session is kept (PROTOCOL section
 * 11). Runs inside instances. A text that is known goes out in one write, without waiting for
 * anything; everything else is read as a stream, no faster than the client takes it.
 */
import { knownBody, type KnownBody } from "./known-bodies.ts";
import { encodeResponseHead, mayHaveBody } from "./response-head.ts";

export interface AnswerSource {
  cancel(reason: unknown): Promise<void>;
}

/** Where an answer is written to. */
export interface Output {
  readonly isKept: boolean;
  /** What the head, which is made now, has to say of the session's end. */
  lastLine(): string;
  /** The body comes from there: to be cancelled when the client is gone. */
  readsFrom(source: AnswerSource): void;
  /** Resolves when the kernel has all of it; undefined: it has. Rejects with ClientGone. */
  write(data: Uint8Array): Promise<void> | undefined;
  /** The same for text in which every character is ASCII, or part of the body and to be UTF-8. */
  writeText(text: string): Promise<void> | undefined;
}

const noBytes = new Uint8Array(0);
/** A copy of so many bytes costs less than a second write. */
const maxJoinedBytes = 16 * 1024;

/**
 * @returns nothing when all is sent already, else a promise of it. It rejects when the client must
 * not take what it has for a whole answer.
 */
export function sendAnswer(
  output: Output,
  method: string,
  response: Response,
): Promise<void> | undefined {
  const known = knownBody(response);
  if (known === undefined) return sendUnknown(output, method, response);
  if (known.text === undefined) return sendBytes(output, method, response, known);
  return sendText(output, method, response, known.type, known.text);
}

function sendText(
  output: Output,
  method: string,
  response: Response,
  type: string,
  text: string,
): Promise<void> | undefined {
  const length = Buffer.byteLength(text);
  const hasBody = mayHaveBody(method, response.status);
  const head = headOf(output, method, response, { type, length });
  // oxlint-disable-next-line no-control-regex -- ASCII
  if (/^[\x00-\x7f]*$/.test(head)) return output.writeText(hasBody ? head + text : head);
  return output.write(joined(head, hasBody ? Buffer.from(text) : noBytes));
}

async function sendBytes(
  output: Output,
  method: string,
  response: Response,
  { type }: KnownBody,
): Promise<void> {
  const bytes = await response.bytes();
  const head = headOf(output, method, response, { type, length: bytes.length });
  const body = mayHaveBody(method, response.status) ? bytes : noBytes;
  if (body.length <= maxJoinedBytes) return await output.write(joined(head, body));
  await output.write(Buffer.from(head, "latin1"));
  await output.write(body);
}

/** Of a status that has no body, nothing is said of one. */
function headOf(
  output: Output,
  method: string,
  response: Response,
  whole: { readonly type: string; readonly length: number },
): string {
  const isHead = method === "HEAD";
  const isSaid = isHead || mayHaveBody(method, response.status);
  return encodeResponseHead(response, output.lastLine(), isSaid ? whole : undefined, isHead);
}

async function sendUnknown(output: Output, method: string, response: Response): Promise<void> {
  const { body } = response;
  const hasBody = mayHaveBody(method, response.status);
  if (body === null || !hasBody) {
    await body?.cancel();
    const whole = hasBody && body === null ? { length: 0 } : undefined;
    const head = encodeResponseHead(response, output.lastLine(), whole);
    await output.write(Buffer.from(head, "latin1"));
    return;
  }
  const announced = response.headers.get("content-length");
  const isChunked = output.isKept && announced === null;
  const framing = isChunked ? "chunked" : undefined;
  const head = encodeResponseHead(response, output.lastLine(), framing);
  await sendStream(output, head, body, isChunked ? "chunked" : announced);
}

/** @param framing `chunked`, the length that the program announced, or null: to the end. */
async function sendStream(
  output: Output,
  head: string,
  body: ReadableStream<Uint8Array>,
  framing: string | null,
): Promise<void> {
  const reader = body.getReader();
  output.readsFrom(reader);
  const isChunked = framing === "chunked";
  let left = isChunked || framing === null ? Infinity : Number(framing);
  let ahead = Buffer.from(head, "latin1");
  try {
    const first = reader.read();
    // A stream that begins later must not hold back the head.
    if ((await Promise.race([first, turn()])) === undefined) {
      await output.write(ahead);
      ahead = Buffer.alloc(0);
    }
    for (let next = await first; !next.done; next = await reader.read()) {
      const bytes = bytesOf(next.value);
      left -= bytes.length;
      if (left < 0) throw new TypeError(`the answer is longer than its Content-Length ${framing}`);
      if (bytes.length > 0) await output.write(piece(ahead, bytes, isChunked));
      if (bytes.length > 0) ahead = Buffer.alloc(0);
    }
    if (left > 0 && left < Infinity) {
      throw new TypeError(`the answer is shorter than its Content-Length ${framing}`);
    }
    const end = isChunked ? "0\r\n\r\n" : "";
    await output.write(Buffer.concat([ahead, Buffer.from(end)]));
  } catch (error) {
    await reader.cancel(error).catch(() => {});
    throw error;
  }
}

function turn(): Promise<undefined> {
  return new Promise((resolve) => {
    setImmediate(resolve, undefined);
  });
}

function piece(ahead: Buffer, bytes: Uint8Array, isChunked: boolean): Uint8Array {
  if (!isChunked) return ahead.length === 0 ? bytes : Buffer.concat([ahead, bytes]);
  const size = Buffer.from(`${bytes.length.toString(16)}\r\n`);
  return Buffer.concat([ahead, size, bytes, lineEnd]);
}

const lineEnd = Buffer.from("\r\n");

/** What Bun's own server takes from a stream: bytes in any form, and text. */
function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === "string") return Buffer.from(chunk);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) {
    return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  throw new TypeError(`a stream of the answer gave ${Bun.inspect(chunk)}, which is no bytes`);
}

function joined(head: string, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}
