/**
 * One HTTP request over a session, in the form instances understand: CGI headers and the body one
 * way, `Status:` and headers and the body the other. This is all a front end needs besides `get`.
 */
import { encodeSessionHeaders } from "../wire/session-headers.ts";
import { ascii } from "../wire/bytes.ts";
import { Exchange } from "./exchange.ts";
import { type RequestBody, sendBody } from "./request-body.ts";
import { SessionResponse } from "./response.ts";
import type { Session } from "./session.ts";

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

/**
 * Sends a request and resolves with the head of the answer; its body is read from there. Takes the
 * session over: it is closed, and the pool told, when the answer's body ends, is cancelled, or
 * anything fails. So a response has to be read to its end or cancelled.
 * @throws SessionError, or the signal's reason (as rejections). @throws TypeError, RangeError at
 * once, with the session closed, when the headers cannot be sent.
 */
export function request(session: Session, options: SessionRequest): Promise<SessionResponse> {
  try {
    const { frame, method, contentLength } = encodeHead(options);
    return perform(session, options, { frame, method, contentLength });
  } catch (error) {
    session.close();
    throw error;
  }
}

interface RequestHead {
  readonly frame: Uint8Array;
  readonly method: string;
  readonly contentLength: number | undefined;
}

async function perform(
  session: Session,
  options: SessionRequest,
  head: RequestHead,
): Promise<SessionResponse> {
  const exchange = new Exchange(session, head.method === "HEAD");
  const { signal } = options;
  if (signal !== undefined) {
    const abort = (): void => exchange.fail(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    exchange.onEnd(() => signal.removeEventListener("abort", abort));
    if (signal.aborted) abort();
  }
  await exchange.start();
  // Body and answer travel at the same time; what goes wrong with the body shows in the answer.
  void sendBody(exchange, head.frame, options.body ?? undefined, head.contentLength);
  return new SessionResponse(await exchange.head, exchange);
}

/** Checks and encodes the headers. */
function encodeHead(options: SessionRequest): RequestHead {
  let method = "";
  let contentLength: number | undefined;
  const headers = Array.from(options.headers, ([name, value]) => {
    // oxlint-disable-next-line no-control-regex -- the range is that of bytes
    if (/[^\x00-\xff]/.test(value)) throw new TypeError(`header ${name}: its value is not bytes`);
    if (name === "REQUEST_METHOD") method = value;
    if (name === "CONTENT_LENGTH") contentLength = parseLength(value);
    return [ascii(name), ascii(value)] as const;
  });
  return { frame: encodeSessionHeaders(headers), method, contentLength };
}

function parseLength(value: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new TypeError(`header CONTENT_LENGTH: '${value}' is no length`);
}
