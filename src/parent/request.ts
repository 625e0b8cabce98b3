/**
 * One HTTP request over a session, in the form instances understand: CGI headers and the body one
 * way, `Status:` and headers and the body the other. This is all a front end needs besides `get`.
 */
import type { AnswerHead } from "../wire/answer-head.ts";
import {
  encodeHeaderBlock,
  frameHeaderBlock,
  MAX_SESSION_HEADER_BYTES,
} from "../wire/session-headers.ts";
import { ascii } from "../wire/bytes.ts";
import { SessionError } from "./errors.ts";
import { Exchange, type HeadListener } from "./exchange.ts";
import { type BodyFraming, type RequestBody, sendRequest } from "./request-body.ts";
import { SessionResponse } from "./response.ts";
import type { Session } from "./session.ts";
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
  /** The headers as they go on the wire: `name NUL value NUL …`, each character one byte. */
  readonly block: string;
  /** CONTENT_LENGTH, if it is among them. */
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
    const prepared = prepareRequest(options);
    if (session.speaksHttp) throw onlyHttp(session);
    return perform(session, prepared, frameHeaderBlock(prepared.block), options.signal);
  } catch (error) {
    session.close();
    throw error;
  }
}

async function perform(
  session: Session,
  prepared: PreparedRequest,
  head: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<SessionResponse> {
  if (signal?.aborted === true) {
    session.close();
    throw signal.reason;
  }
  const stream = new SessionStream(session);
  await stream.open();
  return new Promise((resolve, reject) => {
    const exchange = new Exchange(
      stream,
      prepared.method === "HEAD",
      respondTo(requestLine(prepared), resolve, reject),
    );
    if (signal !== undefined) failOnAbort(exchange, signal);
    const { body, contentLength } = prepared;
    sendRequest(exchange, head, body, framingFor(contentLength));
  });
}

function respondTo(
  line: string,
  resolve: (response: SessionResponse) => void,
  failed: (error: unknown) => void,
): HeadListener {
  const answered = (head: AnswerHead, exchange: Exchange): void =>
    resolve(new SessionResponse(head, exchange));
  return { request: line, answered, failed };
}

/** What is sent here are heads in CGI form; `session.fd` is there for whoever speaks HTTP. */
export function onlyHttp({ pid }: Session): SessionError {
  return new SessionError(`request to instance ${pid}: its sessions are plain HTTP/1.1`, false);
}

/** The method and path of a request, as headers in CGI form say them. */
export function requestLine({ method, block }: PreparedRequest): string {
  const [, target = ""] = /(?:^|\0)REQUEST_URI\0([^\0]*)\0/.exec(block) ?? [];
  return `${method} ${target}`.trimEnd();
}

function framingFor(contentLength: number | undefined): BodyFraming {
  if (contentLength === undefined) return { kind: "half-close" };
  return { kind: "length", bytes: contentLength };
}

/** Fails the exchange with the signal's reason when that aborts. */
function failOnAbort(exchange: Exchange, signal: AbortSignal): void {
  const abort = (): void => exchange.fail(signal.reason);
  if (signal.aborted) return abort();
  signal.addEventListener("abort", abort, { once: true });
  exchange.onEnd(() => signal.removeEventListener("abort", abort));
}

/** Checks and encodes the headers. @throws TypeError, RangeError. */
export function prepareRequest(options: Pick<SessionRequest, "headers" | "body">): PreparedRequest {
  let method = "";
  let contentLength: number | undefined;
  const headers = Array.from(options.headers, ([name, value]) => {
    // oxlint-disable-next-line no-control-regex -- the range is that of bytes
    if (/[^\x00-\xff]/.test(value)) throw new TypeError(`header ${name}: its value is not bytes`);
    if (name === "REQUEST_METHOD") method = value;
    if (name === "CONTENT_LENGTH") contentLength = parseLength(value);
    return [ascii(name), ascii(value)] as const;
  });
  const block = encodeHeaderBlock(headers);
  return { method, block, contentLength, body: options.body ?? undefined };
}

/** Whether the block fits, with what is added to it where the session is kept. */
export function frameable(block: string): boolean {
  return block.length <= MAX_SESSION_HEADER_BYTES - 64;
}

function parseLength(value: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new TypeError(`header CONTENT_LENGTH: '${value}' is no length`);
}
