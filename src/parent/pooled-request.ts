/**
 * PooledRequest: one request from the moment it asks for a session until its answer begins. Rules:
 * - It is repeated when its instance ended before the first byte of an answer, if the method allows
 *   that (RFC 9110, 9.2.2) and the body is still here: after a kept session, whose end may have
 *   crossed the request, on a fresh one; after a fresh one, once more.
 * - Waiting for a session and waiting for the answer have limits of their own. The second does not
 *   run while the instance takes the request, or while the source of the body keeps it waiting.
 * - It is settled once: answered, refused, failed, aborted or out of time.
 */
import type { AnswerHead } from "../wire/answer-head.ts";
import { frameHeaderBlock } from "../wire/session-headers.ts";
import type { Application } from "./application.ts";
import { AnswerTimeoutError, BusyError, SessionError, UnreadRequestError } from "./errors.ts";
import { Exchange, type HeadListener } from "./exchange.ts";
import { getOf } from "./refusals.ts";
import { type BodyFraming, sendRequest } from "./request-body.ts";
import { onlyHttp, requestLine, type PreparedRequest, type SessionRequest } from "./request.ts";
import { SessionResponse } from "./response.ts";
import type { SessionWaiter } from "./session-line.ts";
import type { SessionStream } from "./session-stream.ts";

/** Bounds of a request; 0 or undefined: none. Times are in milliseconds. */
export interface RequestBounds {
  /** How many requests of the application may wait for a session on this connection. */
  readonly maxWaiting?: number | undefined;
  /** How long it may wait for a session. */
  readonly queueMs?: number | undefined;
  /** How long the instance may take to begin its answer, once it has the request. */
  readonly responseMs?: number | undefined;
  /** How long it may take on a session in all; then its instance is ended. */
  readonly requestMs?: number | undefined;
}

/**
 * A request as `request` over a session takes it; a body without CONTENT_LENGTH is sent in chunks
 * where the session is kept.
 */
export type PoolRequest = SessionRequest & RequestBounds;

/** Where sessions come from. */
export interface RequestHost {
  take(application: Application, waiter: SessionWaiter): void;
  leave(application: Application, waiter: SessionWaiter): void;
  /** The request is settled. */
  settled(request: PooledRequest): void;
}

const repeatable = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

let lastId = 0;

export class PooledRequest implements SessionWaiter, HeadListener {
  readonly id = (lastId += 1);
  needsFresh = false;
  readonly maxWaiting: number;
  readonly #source: RequestHost;
  readonly #application: Application;
  readonly #prepared: PreparedRequest;
  readonly #bounds: RequestBounds;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (response: SessionResponse) => void;
  readonly #reject: (error: unknown) => void;
  readonly #beganMs = performance.now();
  #waitedMs = 0;
  /** When it had a session. */
  #servedMs = 0;
  #exchange: Exchange | undefined;
  /** Whether an instance has failed it on a fresh session. */
  #hasFailed = false;
  #isSettled = false;
  /** Since when the instance has let us wait, and what it had taken then. */
  #sinceMs = 0;
  #sentBytes = -1;

  constructor(
    source: RequestHost,
    application: Application,
    prepared: PreparedRequest,
    options: Pick<PoolRequest, keyof RequestBounds | "signal">,
    settle: {
      readonly resolve: (response: SessionResponse) => void;
      readonly reject: (error: unknown) => void;
    },
  ) {
    this.#source = source;
    this.#application = application;
    this.#prepared = prepared;
    this.maxWaiting = options.maxWaiting ?? 0;
    this.#bounds = options;
    this.#signal = options.signal;
    this.#resolve = settle.resolve;
    this.#reject = settle.reject;
  }

  /** For the exchange. */
  get request(): string {
    return requestLine(this.#prepared);
  }

  begin(): void {
    this.#signal?.addEventListener("abort", this.#abort);
    if (this.#signal?.aborted === true) this.#abort();
    if (!this.#isSettled) this.#source.take(this.#application, this);
  }

  /** For the line: here is a session. */
  serve(stream: SessionStream, nowMs: number): void {
    if (stream.session.speaksHttp) {
      this.fail(onlyHttp(stream.session));
      return stream.close();
    }
    const isHead = this.#prepared.method === "HEAD";
    this.#servedMs = nowMs;
    this.#waitedMs = this.#servedMs - this.#beganMs;
    this.needsFresh = stream.served > 0;
    const exchange = new Exchange(stream, isHead, this);
    this.#exchange = exchange;
    this.#sentBytes = -1;
    const { block, framing } = framed(this.#prepared, stream.isFramed);
    sendRequest(exchange, frameHeaderBlock(block), this.#prepared.body, framing);
  }

  /** For the line and the exchange: it came to nothing. */
  failed(error: unknown): void {
    if (this.#isSettled) return;
    if (!this.#mayRepeat(error)) return this.fail(error);
    // On a session that was kept, it has been no instance's fault yet.
    if (!this.needsFresh) this.#hasFailed = true;
    this.needsFresh = true;
    this.#exchange = undefined;
    this.#source.take(this.#application, this);
  }

  fail(error: unknown): void {
    if (this.#isSettled) return;
    this.#settle();
    this.#forgetSignal();
    this.#reject(error);
  }

  /** For the exchange: the answer begins. */
  answered(head: AnswerHead, exchange: Exchange): void {
    this.#settle(exchange);
    // From here on an abort ends the body, as long as that lasts.
    exchange.onEnd(this.#forgetSignal);
    this.#resolve(new SessionResponse(head, exchange, this.#waitedMs));
  }

  /** Ends it if its time is up. */
  tick(nowMs: number): void {
    const { queueMs = 0, responseMs = 0, requestMs = 0 } = this.#bounds;
    const exchange = this.#exchange;
    if (exchange !== undefined && requestMs > 0 && nowMs - this.#servedMs >= requestMs) {
      const error = new AnswerTimeoutError(`${exchange.what}: no end within ${requestMs} ms`);
      return this.#isSettled ? exchange.fail(error, true) : this.#giveUp(error, true);
    }
    if (this.#isSettled) return;
    if (exchange === undefined) {
      if (queueMs === 0 || nowMs - this.#beganMs < queueMs) return;
      const what = getOf(this.#application);
      return this.#giveUp(new BusyError(`${what}: no session within ${queueMs} ms`));
    }
    if (!exchange.awaitsInstance || exchange.sentBytes !== this.#sentBytes) {
      this.#sinceMs = nowMs;
      this.#sentBytes = exchange.sentBytes;
    } else if (responseMs > 0 && nowMs - this.#sinceMs >= responseMs) {
      this.#giveUp(new AnswerTimeoutError(`${exchange.what}: no answer within ${responseMs} ms`));
    }
  }

  readonly #abort = (): void => {
    const reason: unknown = this.#signal?.reason;
    if (this.#isSettled) this.#exchange?.fail(reason);
    else this.#giveUp(reason);
  };

  readonly #forgetSignal = (): void => {
    this.#signal?.removeEventListener("abort", this.#abort);
  };

  #giveUp(error: unknown, isLate = false): void {
    this.fail(error);
    this.#source.leave(this.#application, this);
    this.#exchange?.fail(error, isLate);
  }

  /** @param answer if it has begun: as long as it lasts, time goes on. */
  #settle(answer?: Exchange): void {
    this.#isSettled = true;
    const { requestMs = 0 } = this.#bounds;
    if (answer === undefined || requestMs === 0) this.#source.settled(this);
    else answer.onEnd(() => this.#source.settled(this));
  }

  #mayRepeat(error: unknown): boolean {
    if (!(error instanceof SessionError) || error.answerBegan) return false;
    const { method, body } = this.#prepared;
    const isHere = body === undefined || body instanceof Uint8Array;
    const isSafe = error instanceof UnreadRequestError || repeatable.has(method);
    return isHere && isSafe && !this.#hasFailed;
  }
}

/** The headers and how the body ends: as on the web where it can be, else with the session. */
function framed(
  prepared: PreparedRequest,
  isFramed: boolean,
): { readonly block: string; readonly framing: BodyFraming } {
  const { block, contentLength, body } = prepared;
  const kept = isFramed ? `${block}SESSION_KEEP\x001\0` : block;
  if (contentLength !== undefined) {
    return { block: kept, framing: { kind: "length", bytes: contentLength } };
  }
  if (!isFramed) return { block, framing: { kind: "half-close" } };
  if (body === undefined) return { block: kept, framing: { kind: "length", bytes: 0 } };
  if (body instanceof Uint8Array) {
    const bytes = body.length;
    return { block: `${kept}CONTENT_LENGTH\0${bytes}\0`, framing: { kind: "length", bytes } };
  }
  return { block: `${kept}HTTP_TRANSFER_ENCODING\0chunked\0`, framing: { kind: "chunked" } };
}
