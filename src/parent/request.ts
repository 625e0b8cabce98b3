/**
 * One HTTP request over a session, in the form instances understand: CGI headers and the body one
 * way, `Status:` and headers and the body the other. This is all a front end needs besides `get`.
 */
import { encodeHeaderBlock, type Header, MAX_BLOCK_BYTES } from "../wire/session-headers.ts";
import { ascii } from "../wire/bytes.ts";
import type { RequestBody } from "./caller-body.ts";
import { PooledRequest, type RequestHost } from "./pooled-request.ts";
import type { SessionResponse } from "./response.ts";
import type { Session } from "./session.ts";
import type { SessionWaiter } from "./session-line.ts";
import { SessionStream } from "./session-stream.ts";

export interface SessionRequest {
  /**
   * The headers in CGI form (`REQUEST_METHOD`, `REQUEST_URI`, `HTTP_HOST` …), at most 128 KiB.
   * Values are byte strings as in `Headers`: each character is one byte. With `CONTENT_LENGTH` the
   * body must have that length, and the session stays open both ways; without, our side is shut
   * down after the body.
   */
  readonly headers: Iterable<readonly [name: string, value: string]>;
  readonly body?: RequestBody | null | undefined;
  /** Gives up: whatever is under way rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A request that is ready to be sent, as often as it takes. */
export interface PreparedRequest {
  readonly method: string;
  /** Its method and path. */
  readonly what: string;
  /** The headers but CONTENT_LENGTH, `name NUL value NUL …`, each character one byte. */
  readonly block: string;
  readonly contentLength: number | undefined;
  readonly body: RequestBody | undefined;
}

/**
 * Sends a request and resolves with the head of the answer; its body is read from there. Takes the
 * session over: it is closed, and the pool told, when the answer's body ends, is cancelled, or
 * anything fails. So a response has to be read to its end or cancelled.
 * @throws SessionError, or the signal's reason (as rejections). @throws TypeError, RangeError at
 * once, with the session closed, when the headers cannot be sent.
 */
export function request(session: Session, options: SessionRequest): Promise<SessionResponse> {
  try {
    const asked = new PooledRequest(new OneSession(session), prepareRequest(options), options);
    asked.begin();
    return asked.answer;
  } catch (error) {
    session.close();
    throw error;
  }
}

/** A session whose only request it is. */
class OneSession implements RequestHost {
  readonly get = "";
  readonly hasMore = false;
  readonly #stream: SessionStream;

  constructor(session: Session) {
    this.#stream = new SessionStream(session);
  }

  take(waiter: SessionWaiter): void {
    this.#stream.open().then(
      () => this.#stream.isOpen && waiter.serve(this.#stream, performance.now()),
      (error: unknown) => waiter.fail(error),
    );
  }

  leave(): void {
    this.#stream.close();
  }

  outlives(): boolean {
    return false;
  }

  settled(): void {}
}

/** Checks and encodes the headers. @throws TypeError, RangeError. */
export function prepareRequest(options: Pick<SessionRequest, "headers" | "body">): PreparedRequest {
  let method = "";
  let target = "";
  let contentLength: number | undefined;
  const headers: Header[] = [];
  for (const [name, value] of options.headers) {
    // oxlint-disable-next-line no-control-regex -- the range is that of bytes
    if (/[^\x00-\xff]/.test(value)) throw new TypeError(`header ${name}: its value is not bytes`);
    if (name === "REQUEST_METHOD") method = value;
    if (name === "REQUEST_URI") target = value;
    if (name === "CONTENT_LENGTH") contentLength = parseLength(value);
    else headers.push([ascii(name), ascii(value)]);
  }
  const block = encodeHeaderBlock(headers);
  if (block.length > MAX_BLOCK_BYTES) {
    throw new RangeError(`request: its headers have ${block.length} bytes, 128 KiB at most`);
  }
  const what = `${method} ${target}`.trimEnd();
  return { method, what, block, contentLength, body: options.body ?? undefined };
}

function parseLength(value: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new TypeError(`header CONTENT_LENGTH: '${value}' is no length`);
}
