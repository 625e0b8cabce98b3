/**
 * ProxiedRequest: a visitor's request as an instance is asked it: for which application, in which
 * form, within which limits; and what the visitor is told of the answer's head beside what the
 * application says: by which line he goes on with the process that answers, where his page is.
 */
import type { Asked, AskedLimits, Asking, SessionSource } from "../../parent/asking.ts";
import { ServerGoneError } from "../../parent/errors.ts";
import type { Session } from "../../parent/session.ts";
import type { SessionWaiter } from "../../parent/session-line.ts";
import type { AnswerHabits, AnswerHead } from "../../wire/answer-head.ts";
import { FieldNames } from "../../wire/field-names.ts";
import { type FramedHead, framedLines, framedVariables } from "../../wire/session-headers.ts";
import type { Upload } from "../bodies/upload.ts";
import type { RequestFields } from "../files/conditions.ts";
import { mayWonder, withSlash } from "../policy/below-prefix.ts";
import { stickyLine, tokenOf } from "../policy/stickiness.ts";
import { headOf, type RoutedRequest } from "./cgi-block.ts";
import { reasonOf } from "./head-text.ts";
import { defaultWaitMs } from "./pool-link.ts";
import type { Site } from "./site.ts";

interface PreparedHead {
  /** Whether `text` is lines of HTTP/1.1 or variables of CGI. */
  readonly speaksHttp: boolean;
  /** Its head, without what says where the body ends. */
  readonly text: string;
  /** Of the body if the visitor has said so; undefined: there is none, or it is in chunks. */
  readonly contentLength: number | undefined;
}

/** Every answer has an X-Request-Id from us. */
const habits: AnswerHabits = {
  names: new FieldNames((lowerCase) => (lowerCase === "x-request-id" ? "drop" : "")),
  reasonOf,
};

export class ProxiedRequest implements Asked, SessionSource {
  readonly upload: Upload | undefined;
  readonly maxWaiting: number;
  readonly token: string | undefined;
  readonly #site: Site;
  readonly #request: RoutedRequest;
  readonly #prepared: PreparedHead;

  constructor(
    site: Site,
    fields: RequestFields,
    request: RoutedRequest,
    prepared: PreparedHead,
    upload: Upload | undefined,
  ) {
    this.#site = site;
    this.#request = request;
    this.#prepared = prepared;
    this.upload = upload;
    this.maxWaiting = site.maxWaitingOf(request.app);
    this.token = tokenOf(request.app, fields, request.origin.remoteAddress);
  }

  get habits(): AnswerHabits {
    return habits;
  }

  get source(): SessionSource {
    return this;
  }

  get hasMore(): boolean {
    return true;
  }

  get method(): string {
    return this.#request.head.method;
  }

  get what(): string {
    return `${this.method} ${this.#request.head.target.path}`;
  }

  get get(): string {
    return `get '${this.#request.app.root}'`;
  }

  get limits(): AskedLimits {
    const { queueMs, responseMs } = this.#site.config.limits;
    const { options, slowRequestMs } = this.#request.app;
    return { queueMs, responseMs, requestMs: options.requestTimeoutMs, slowMs: slowRequestMs };
  }

  /** A program ends what it has refused to change, and does not say so. */
  get mayChange(): boolean {
    return this.#request.head.upgrade !== "";
  }

  take(waiter: SessionWaiter, waitedMs: number): void {
    const { queueMs } = this.#site.config.limits;
    const waitMs = queueMs === 0 ? defaultWaitMs : Math.max(queueMs - waitedMs, 1);
    this.#site.link.take(this.#request.app, waiter, waitMs);
  }

  leave(waiter: SessionWaiter): void {
    this.#site.link.leave(this.#request.app, waiter);
  }

  /** The pool server has gone, and no instance has seen it: the next server may have it. */
  outlives(error: unknown, waitedMs: number): boolean {
    const { queueMs } = this.#site.config.limits;
    const isLost = error instanceof ServerGoneError && !this.#site.link.isClosed;
    return isLost && (queueMs === 0 || waitedMs < queueMs);
  }

  headFor({ speaksHttp }: Session, isFramed: boolean): FramedHead {
    const { speaksHttp: isLines, text, contentLength } = this.#prepared;
    const { upload } = this;
    // Of another kind than is configured here: since a reload.
    const head = speaksHttp === isLines ? text : headOf(this.#request, speaksHttp);
    const length = upload?.isWhole === true ? upload.appendedBytes : contentLength;
    const hasBody = upload !== undefined;
    if (speaksHttp) return framedLines(head, hasBody, length);
    return framedVariables(head, hasBody, length, isFramed);
  }

  told(head: AnswerHead, instanceKey: string): AnswerHead {
    const told = head.status === 404 ? this.#missing(head) : head;
    if (instanceKey === "") return told;
    const { app, origin } = this.#request;
    const line = stickyLine(app, this.token, instanceKey, origin.scheme === "https");
    return line === "" ? told : { ...told, lines: told.lines + line };
  }

  #missing(head: AnswerHead): AnswerHead {
    const { app, head: request } = this.#request;
    const told = withSlash(head, this.#request);
    if (told === head && mayWonder(this.#request)) this.#site.wonders(app, request.target.path);
    return told;
  }

  slow(ms: number, { waitedMs, pid }: Asking): void {
    const { app, origin } = this.#request;
    const { onSlow } = this.#site.options;
    onSlow?.({ id: origin.id, app, request: this.what, ms, queueMs: waitedMs, pid });
  }
}
