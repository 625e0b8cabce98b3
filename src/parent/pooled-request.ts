/**
 * PooledRequest: a caller's request from the moment it asks for a session until its answer has
 * ended: what Asking asks, and who hears of the answer. It is settled once, when the answer begins
 * or there is none; from then on an abort, or a limit, ends the body.
 */
import type { AnswerHabits, AnswerHead } from "../wire/answer-head.ts";
import { FieldNames } from "../wire/field-names.ts";
import { type FramedHead, framedVariables } from "../wire/session-headers.ts";
import { AnswerBody } from "./answer-body.ts";
import { type Asked, type AskedLimits, type Asker, Asking, type SessionSource } from "./asking.ts";
import { CallerBody, UnsendableError, wrongLength } from "./caller-body.ts";
import { SessionError } from "./errors.ts";
import type { PreparedRequest, SessionRequest } from "./request.ts";
import { SessionResponse } from "./response.ts";
import type { Session } from "./session.ts";

/** Bounds of a request; 0 or undefined: none. */
interface RequestBounds extends Omit<AskedLimits, "slowMs"> {
  /** How many requests of the application may wait for a session on this connection. */
  readonly maxWaiting?: number | undefined;
}

/**
 * A request as `request` over a session takes it; a body without CONTENT_LENGTH is sent in chunks
 * where the session is kept.
 */
export type PoolRequest = SessionRequest & RequestBounds;

export interface RequestHost extends SessionSource {
  /** The request is settled, and has no limit any more. */
  settled(request: PooledRequest): void;
}

/** A caller sees what the application said, and no reason where it gave none. */
const habits: AnswerHabits = { names: new FieldNames(), reasonOf: () => "" };

let lastId = 0;

export class PooledRequest implements Asked, Asker {
  readonly id = (lastId += 1);
  readonly habits = habits;
  readonly token = undefined;
  readonly mayChange = false;
  readonly method: string;
  readonly what: string;
  readonly maxWaiting: number;
  readonly limits: AskedLimits;
  readonly upload: CallerBody | undefined;
  readonly source: RequestHost;
  readonly #prepared: PreparedRequest;
  readonly #signal: AbortSignal | undefined;
  readonly #asking: Asking;
  readonly #settling = Promise.withResolvers<SessionResponse>();
  readonly #answer = new AnswerBody(this);
  #head: AnswerHead | undefined;
  #isTold = false;

  constructor(
    host: RequestHost,
    prepared: PreparedRequest,
    options: Pick<PoolRequest, keyof RequestBounds | "signal">,
  ) {
    const { body, contentLength } = prepared;
    this.source = host;
    this.#prepared = prepared;
    this.method = prepared.method;
    this.what = prepared.what;
    this.maxWaiting = options.maxWaiting ?? 0;
    this.limits = options;
    this.upload = body === undefined ? undefined : new CallerBody(body, this, contentLength);
    this.#signal = options.signal;
    this.#asking = new Asking(this, this);
  }

  /** The answer, once its head is here. */
  get answer(): Promise<SessionResponse> {
    return this.#settling.promise;
  }

  begin(): void {
    if (this.#signal?.aborted === true) {
      this.source.leave(this.#asking);
      return this.failed(this.#signal.reason);
    }
    this.#signal?.addEventListener("abort", this.#abort);
    this.#asking.begin();
  }

  tick(nowMs: number): void {
    this.#asking.tick(nowMs);
  }

  /** What is sent here are heads in CGI form; `session.fd` is there for whoever speaks HTTP. */
  headFor({ speaksHttp }: Session, isFramed: boolean): FramedHead {
    const { block, contentLength } = this.#prepared;
    if (speaksHttp) throw new UnsendableError("its sessions are plain HTTP/1.1");
    const hasBody = this.upload !== undefined;
    const length = hasBody ? this.upload.length : 0;
    if (contentLength !== undefined && length !== undefined && length !== contentLength) {
      throw wrongLength(length, contentLength);
    }
    // Where the session ends with the request, a length is said only if the caller does.
    const known = contentLength ?? (isFramed ? this.upload?.length : undefined);
    return framedVariables(block, hasBody, known, isFramed);
  }

  told(head: AnswerHead): AnswerHead {
    return head;
  }

  slow(): void {}

  /** There is more of its body, or it is whole. */
  bodyGrew(): void {
    this.#asking.bodyGrew();
  }

  bodyFailed(error: unknown): void {
    this.#asking.stop(error);
  }

  /** For Asking, as is all up to `failed`. Nobody asked for interim heads. */
  interim(): void {}

  head(head: AnswerHead): void {
    this.#head = head;
  }

  /** What follows ends with the stream. */
  switched(head: AnswerHead): void {
    this.#head = head;
  }

  instanceEnded(): void {
    this.#asking.giveUp();
    this.answered();
  }

  instanceTakes(): void {}

  body(bytes: Uint8Array): void {
    this.#answer.push(bytes);
  }

  get isFull(): boolean {
    return this.#answer.isFull;
  }

  /** With what of the body has come with the head. */
  flush(): void {
    if (this.#head === undefined || this.#isTold) return;
    this.#isTold = true;
    const { pid, waitedMs } = this.#asking;
    this.#settling.resolve(new SessionResponse(this.#head, this.#answer, pid, waitedMs));
    if (!this.limits.requestMs) this.source.settled(this);
  }

  answered(): void {
    this.#answer.end();
    this.flush();
    this.#end();
  }

  /** Also for who does not let it begin. */
  failed(cause: unknown): void {
    const isOurs = cause instanceof UnsendableError;
    const text = isOurs ? `${this.#asking.instance}: ${cause.message}` : "";
    const error = isOurs ? new SessionError(text, this.#head !== undefined) : cause;
    this.#answer.fail(error);
    if (!this.#isTold) this.#settling.reject(error);
    this.#end();
  }

  /** For the answer's body, as is `cancel`. */
  resume(): void {
    this.#asking.resume();
  }

  cancel(): void {
    const text = `${this.#asking.instance}: the answer has been cancelled`;
    this.#asking.stop(new SessionError(text, true));
  }

  readonly #abort = (): void => this.#asking.stop(this.#signal?.reason);

  #end(): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    this.upload?.cancel();
    this.source.settled(this);
  }
}
