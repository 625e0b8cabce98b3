/**
 * Visit: one request and what is answered, from its head to the last byte that the visitor takes.
 *
 *     begun --> uploading --> asking --> answering --> answered --> over
 *
 * Each stage may be skipped; `switched` takes the place of answering where the protocol changes.
 * Every visit is answered once and logged once. An answer carries the request's id, Date, and how
 * the connection goes on; all else is said by whoever answers: the application, a file, or a page
 * of ours that says why not.
 */
import { Asking, type Asker } from "../../parent/asking.ts";
import type { AnswerHead } from "../../wire/answer-head.ts";
import type { Refusal } from "../../http/refusals.ts";
import type { RequestHead } from "../../http/request-head.ts";
import { ProtocolError } from "../../wire/protocol-error.ts";
import { causeText } from "../../wire/cause.ts";
import { MAX_BLOCK_BYTES } from "../../wire/session-headers.ts";
import type { AppConfig } from "../config.ts";
import { errorAnswer, type WholeAnswer } from "../policy/error-pages.ts";
import { bodyTooLarge, failureOf, RefusedError, visitorGone } from "../policy/failures.ts";
import { answerOfFiles } from "../files/static-site.ts";
import { type Origin, originOf } from "../policy/forwarded.ts";
import { redirectToHttps } from "../policy/https-only.ts";
import type { Route } from "../policy/router.ts";
import type { VisitRecord } from "./visit-record.ts";
import { headOf, offeredProtocols } from "./cgi-block.ts";
import {
  dateLine,
  framedLines,
  framingFor,
  headText,
  reasonOf,
  switchText,
  type VisitorFraming,
} from "./head-text.ts";
import { HeadFields } from "../policy/request-fields.ts";
import { ProxiedRequest } from "./proxied-request.ts";
import type { Site } from "./site.ts";
import { Tunnel } from "./tunnel.ts";
import { Upload } from "../bodies/upload.ts";
import type { Visitor } from "./visitor.ts";

type Stage = "begun" | "uploading" | "asking" | "answering" | "switched" | "answered" | "over";

const continues = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n");

export class Visit implements VisitRecord, Asker {
  readonly receivedMs: number;
  readonly method: string;
  readonly target: string;
  app: AppConfig | undefined = undefined;
  status = 0;
  bytes = 0;
  failure = "";
  readonly #site: Site;
  readonly #visitor: Visitor;
  readonly #head: RequestHead | undefined;
  readonly origin: Origin;
  readonly fields: HeadFields;
  #stage: Stage = "begun";
  #upload: Upload | undefined;
  #asking: Asking | undefined;
  #tunnel: Tunnel | undefined;
  #framing: VisitorFraming = "length";
  /** Whether what the application sends as a body is none of the visitor's. */
  #isBodiless = false;

  /** @param head undefined: what was sent is no request; it is to be refused. */
  constructor(site: Site, visitor: Visitor, head: RequestHead | undefined) {
    this.#site = site;
    this.#visitor = visitor;
    this.receivedMs = visitor.sinceMs;
    this.#head = head;
    this.method = head?.method ?? "-";
    this.target = head?.target.text ?? "-";
    this.fields = new HeadFields(head?.fields ?? { names: [], values: [] });
    this.origin = originOf(this.fields, head?.host ?? "", visitor.peer, site.trusted);
  }

  get queueMs(): number {
    return this.#asking?.waitedMs ?? 0;
  }

  get pid(): number {
    return this.#asking?.pid ?? 0;
  }

  get isSwitched(): boolean {
    return this.#stage === "switched";
  }

  /** Whether the answer's head has gone out. */
  get hasBegun(): boolean {
    return this.#stage === "answering" || this.#stage === "answered";
  }

  /** Whether the visitor is still to send. */
  get awaitsVisitor(): boolean {
    return this.#wanted?.isWhole === false && !this.#wanted.isFull;
  }

  /** The body, until the answer is whole: an application may answer while it reads. */
  get #wanted(): Upload | undefined {
    return this.#stage === "answered" ? undefined : this.#upload;
  }

  /** What may be sent to find out whether the visitor is there: see Visitor. */
  get probe(): "interim" | "zero" | "none" {
    if (this.#stage === "asking" && this.#head?.minor === 1) return "interim";
    const isChunked = this.#framing === "chunked" && !this.#isBodiless;
    return this.#stage === "answering" && isChunked ? "zero" : "none";
  }

  /** Whether nothing more of the application's should come for now. */
  get isFull(): boolean {
    return this.#visitor.out.isFull;
  }

  /** Whether nothing more of the visitor's should come for now. */
  get takesNoMore(): boolean {
    if (this.#stage === "switched") return this.#tunnel?.isFull === true;
    return this.#wanted?.isFull === true;
  }

  /** The request's head has come. */
  begin(): void {
    const head = this.#head;
    if (head === undefined) throw new Error("visit: begun without a request");
    const refusal = this.#site.refusalOf(head);
    if (refusal !== undefined) return this.refuse(refusal);
    const { config, router } = this.#site;
    const { target, framing } = head;
    const redirect = redirectToHttps(config.tls, this.origin, this.#visitor.peer, target.text);
    if (redirect !== undefined) return this.refuse(redirect);
    const route = router.route(this.origin.host, target.path);
    if (route === undefined) return this.refuse(this.#site.notServed);
    this.app = route.app;
    this.#site.counts.begun(route.app);
    const request = { method: this.method, canWait: framing.kind === "none" };
    this.#site.files.whenReady(route, request, (isReady) => {
      if (this.#stage !== "begun" || this.#answerWithFile(route, isReady)) return;
      this.#prepare(head, route);
    });
  }

  /** Some of the body has come. */
  received(bytes: Uint8Array): void {
    const upload = this.#wanted;
    if (upload === undefined) return this.#tunnel?.fromVisitor(bytes);
    try {
      if (!upload.add(bytes)) {
        const { maxBodyBytes } = this.#site.config.limits;
        const why = `the body has more than ${maxBodyBytes} bytes`;
        return this.failed(new RefusedError(bodyTooLarge, why));
      }
    } catch (error) {
      return this.failed(error);
    }
    this.#asking?.bodyGrew();
  }

  /** The body is whole. */
  uploaded(): void {
    this.#upload?.end();
    if (this.#stage === "uploading") this.#ask();
    else this.#asking?.bodyGrew();
  }

  /** After a switch: the visitor has ended his side. */
  visitorEnded(): void {
    this.#tunnel?.visitorEnded();
  }

  /** The visitor takes bytes again. */
  visitorTakes(): void {
    this.#asking?.resume();
  }

  /** The connection is gone. */
  visitorGone(): void {
    if (this.#stage === "over") return;
    this.#asking?.giveUp();
    const now = performance.now();
    if (this.isSwitched) return this.over(now);
    const error = new RefusedError(visitorGone, "the visitor has left");
    this.noteFailure(error);
    if (!this.hasBegun) {
      this.status = visitorGone.status;
      this.#site.options.onFailure(error, this);
    }
    this.over(now);
  }

  /** The answer has been taken, or nobody will take it. @param nowMs by performance.now(). */
  over(nowMs: number): void {
    if (this.#stage === "over") return;
    this.#stage = "over";
    this.#upload?.close();
    this.#site.done(this, this.fields, nowMs);
  }

  noteFailure(error: unknown): void {
    if (this.failure === "") this.failure = causeText(error);
  }

  tick(nowMs: number): void {
    this.#asking?.tick(nowMs);
  }

  /** Refused by a rule, with an answer of our own. */
  refuse(refusal: Refusal): void {
    if (this.hasBegun) return this.#visitor.breakOff(new Error(refusal.reason));
    this.#asking?.giveUp();
    if (refusal.status >= 400) this.noteFailure(refusal.reason);
    this.#answerError(refusal.status, refusal.reason, refusal.fields);
  }

  /** For Asking, and for all that goes wrong before. */
  failed(error: unknown): void {
    if (this.#stage === "over") return;
    if (this.hasBegun || this.isSwitched) return this.#visitor.breakOff(error);
    this.#asking?.giveUp();
    const { status, reason, retryAfterSeconds, page } = failureOf(error);
    this.status = status;
    this.noteFailure(error);
    this.#site.options.onFailure(error, this);
    if (page !== undefined && this.app?.showErrors === true) {
      const fields = "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n";
      return this.#answerWhole({ status, fields, body: page });
    }
    const retry = retryAfterSeconds === undefined ? "" : `Retry-After: ${retryAfterSeconds}\r\n`;
    this.#answerError(status, reason, retry);
  }

  #answerError(status: number, reason: string, fields: string): void {
    const answer = errorAnswer({
      status,
      reason,
      id: this.origin.id,
      accept: this.fields.get("accept"),
    });
    this.#answerWhole({ ...answer, fields: answer.fields + fields });
  }

  /** For Asking. */
  interim(head: AnswerHead): void {
    // A 100 is ours to give, and HTTP/1.0 knows none of them (RFC 9110, 15.2).
    if (this.#head?.minor !== 1 || head.status === 100) return;
    this.#visitor.connection.interim();
    this.#visitor.out.text(`HTTP/1.1 ${head.status} ${head.reason}\r\n${head.lines}\r\n`);
  }

  /** For Asking: the answer begins. */
  head(head: AnswerHead): void {
    this.status = head.status;
    this.#framing = framingFor(head, this.#head?.minor ?? 1);
    this.#isBodiless = head.status === 205;
    const lines = framedLines(head, this.#framing, this.#isBodiless);
    this.#begin(head.status, head.reason, lines, head.hasDate ? "" : dateLine());
  }

  /** For Asking. */
  body(bytes: Uint8Array): void {
    if (this.#isBodiless) return;
    const { out } = this.#visitor;
    this.bytes += bytes.length;
    return this.#framing === "chunked" ? out.chunk(bytes) : out.bytes(bytes);
  }

  /** For Asking. */
  flush(): void {
    this.#visitor.out.flush();
  }

  /** For Asking: the answer is whole. */
  answered(): void {
    if (this.#stage === "over") return;
    if (this.#framing === "chunked" && !this.#isBodiless) this.#visitor.out.text("0\r\n\r\n");
    this.#finish();
  }

  /** For Asking: the instance changes to the protocol that the visitor has offered. */
  switched(head: AnswerHead): void {
    const isOffered = this.#head !== undefined && offeredProtocols(this.#head) !== "";
    if (!isOffered || head.upgrade === "") {
      throw new ProtocolError("answer of the instance: it changes to a protocol nobody asked for");
    }
    const { connection, out } = this.#visitor;
    this.#stage = "switched";
    this.status = head.status;
    connection.switchProtocols();
    out.text(switchText(head, this.origin.id));
    out.spools = false;
    if (this.#asking !== undefined) this.#tunnel = new Tunnel(this.#visitor, this.#asking);
    setImmediate(() => this.#visitor.advance());
  }

  /** For Asking. */
  instanceTakes(): void {
    this.#tunnel?.drained();
    if (!this.takesNoMore) this.#visitor.advance();
  }

  /** For Asking. */
  instanceEnded(): void {
    this.#tunnel?.instanceEnded();
  }

  /** @returns whether there is a file that is the answer. */
  #answerWithFile(route: Route, isReady: boolean): boolean {
    const { method, target, fields: headers } = this;
    try {
      const request = { method, target, headers };
      const file = answerOfFiles(this.#site.files, route, request, isReady, this.receivedMs);
      if (file === undefined) return false;
      if ("kind" in file) {
        this.refuse(file);
        return true;
      }
      this.#visitor.connection.skipBody();
      this.#begin(file.status, reasonOf(file.status), file.lines, dateLine());
      this.bytes = file.body?.length ?? 0;
      if (file.body instanceof Uint8Array) this.#visitor.out.bytes(file.body);
      else if (file.body !== undefined) this.#visitor.out.file(file.body);
      this.#finish();
    } catch (error) {
      this.failed(error);
    }
    return true;
  }

  /** What is needed to ask the application; a body is waited for, or it is asked at once. */
  #prepare(head: RequestHead, { app, script, below }: Route): void {
    const { peer, connection, out } = this.#visitor;
    const from = { origin: this.origin, peerIsTrusted: this.#site.trusted.has(peer.address) };
    const request = { head, ...from, app, script, below };
    const speaksHttp = app.type === "command";
    const text = headOf(request, speaksHttp);
    if (text.length > MAX_BLOCK_BYTES) return this.refuse(this.#site.tooManyHeaders);
    const upload = head.framing.kind === "none" ? undefined : this.#site.upload(app);
    this.#upload = upload;
    const none = this.fields.get("content-length") === null ? undefined : 0;
    const contentLength = head.framing.kind === "length" ? head.framing.bytes : none;
    const said = { speaksHttp, text, contentLength };
    const asked = new ProxiedRequest(this.#site, this.fields, request, said, upload);
    this.#asking = new Asking(asked, this);
    if (head.expectsContinue) {
      connection.interim();
      out.bytes(continues);
      out.flush();
    }
    out.spools = app.bufferAnswers;
    if (upload?.isBuffered === true) this.#stage = "uploading";
    else this.#ask();
  }

  #ask(): void {
    this.#stage = "asking";
    this.#asking?.begin();
  }

  #answerWhole({ status, fields, body }: WholeAnswer): void {
    this.#visitor.connection.skipBody();
    const lines = `${fields}Content-Length: ${body.length}\r\n`;
    this.#begin(status, reasonOf(status), lines, dateLine());
    if (this.method !== "HEAD") {
      this.bytes = body.length;
      this.#visitor.out.bytes(body);
    }
    this.#finish();
  }

  /** The head of the answer. @param date its line, if the answer has none. */
  #begin(status: number, reason: string, lines: string, date: string): void {
    const { connection, out } = this.#visitor;
    const minor = this.#head?.minor ?? 1;
    this.#stage = "answering";
    this.status = status;
    const closes = !connection.stays || this.#framing === "close" || this.#site.isDraining;
    connection.begin(closes);
    const { id, scheme } = this.origin;
    // Only TLS may carry it (RFC 6797 section 7.2).
    const strictTransport = scheme === "https" ? this.#site.config.tls?.strictTransport : undefined;
    const parts = { status, reason, lines, date, id, minor, closes, strictTransport };
    out.text(headText(parts));
  }

  /** All of the answer is in `out`. */
  #finish(): void {
    const hadToWait = this.takesNoMore;
    this.#visitor.out.flush();
    this.#stage = "answered";
    this.#visitor.endWhenEmpty("answer");
    if (hadToWait) this.#visitor.advance();
  }
}
