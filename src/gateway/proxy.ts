/**
 * Proxy: a request's way to an instance and its answer's way back. Rules:
 * - A short body with a length is read before an instance is asked for, so that a slow visitor
 *   holds none, and the request can be repeated. Any other body is passed on as it comes, as fast
 *   as the instance takes it.
 * - What of an answer does not belong to the visitor's connection is passed on
 *   (answer-headers.ts, answer-body.ts); one that cannot be passed on ends its session.
 * - A visitor who leaves ends the session at once.
 */
import { frameable, type PreparedRequest } from "../parent/request.ts";
import { BusyError } from "../parent/errors.ts";
import type { SessionResponse } from "../parent/response.ts";
import { bodyFor } from "./answer-body.ts";
import { answerHeaders, checkStatus } from "./answer-headers.ts";
import { cgiRequest, type CgiRequest } from "./cgi-variables.ts";
import type { AppConfig, RequestLimits } from "./config.ts";
import type { RequestProxy } from "./answer.ts";
import type { PoolLink } from "./pool-link.ts";
import { BadRequestError, VisitorGoneError } from "./proxy-errors.ts";
import { Upload } from "./upload.ts";
import type { Visit } from "./visit.ts";

/** Bodies of requests up to this size are read first; larger ones are worth an instance's time. */
const maxReadFirstBytes = 64 * 1024;

/** What a request may cost in time and company; 0: no limit. */
export interface ProxyLimits extends Pick<
  RequestLimits,
  "maxBodyBytes" | "queueMs" | "responseMs"
> {
  /** Requests of this worker that may wait for an instance. */
  readonly maxQueue: number;
}

export class Proxy implements RequestProxy {
  readonly #link: PoolLink;
  readonly #limits: ProxyLimits;

  constructor(link: PoolLink, limits: ProxyLimits) {
    this.#link = link;
    this.#limits = limits;
  }

  /**
   * Has the application answer the request; fills in what the visit is to know of that.
   * @throws BadRequestError (400), BodyTooLargeError (413), VisitorGoneError, and of the library
   * for parents: SpawnError (500), BusyError (503), AnswerTimeoutError (504), SessionError (502),
   * PoolIOError, ServerGoneError (503), as rejections.
   */
  async serve(app: AppConfig, request: Request, visit: Visit): Promise<Response> {
    const cgi = cgiRequest(app, visit, request.headers);
    const body = await bodyOf(request, cgi, visit, this.#limits.maxBodyBytes);
    const { queueMs, responseMs, maxQueue } = this.#limits;
    const signal = (): AbortSignal => request.signal;
    const options = { signal, queueMs, responseMs, maxWaiting: maxQueue };
    const beganMs = performance.now();
    try {
      const answer = await this.#link.send(app, prepare(visit.method, cgi, body), options);
      visit.queueMs = answer.waitedMs;
      visit.pid = answer.pid;
      return await respond(answer, visit);
    } catch (error) {
      if (error instanceof BusyError) visit.queueMs = performance.now() - beganMs;
      if (request.signal.aborted) throw new VisitorGoneError("the visitor has left");
      throw error;
    }
  }
}

type RequestBody = PreparedRequest["body"];

/** The body of the request: read if that is cheap. @throws VisitorGoneError. */
async function bodyOf(
  request: Request,
  cgi: CgiRequest,
  visit: Visit,
  maxBytes: number,
): Promise<RequestBody> {
  const { contentLength, isChunked } = cgi;
  if (contentLength === undefined && !isChunked) return undefined;
  if (contentLength === undefined || contentLength > maxReadFirstBytes) {
    return request.body === null
      ? new Uint8Array()
      : new Upload(request.body, maxBytes, visit.uploaded);
  }
  try {
    const bytes = await request.bytes();
    visit.uploaded();
    return bytes;
  } catch {
    throw new VisitorGoneError("the visitor left before the request was whole");
  }
}

function prepare(method: string, cgi: CgiRequest, body: RequestBody): PreparedRequest {
  const contentLength = body instanceof Uint8Array ? body.length : cgi.contentLength;
  const length = contentLength === undefined ? "" : `CONTENT_LENGTH\0${contentLength}\0`;
  const block = cgi.block + length;
  if (!frameable(block)) throw new BadRequestError("its headers are more than instances take");
  return { method, block, contentLength, body };
}

async function respond(answer: SessionResponse, visit: Visit): Promise<Response> {
  try {
    const { status } = answer;
    checkStatus(answer);
    const isHead = visit.method === "HEAD";
    const headers = answerHeaders(answer.headers, isHead || status === 304, isHead);
    const isBodiless = isHead || status === 204 || status === 205 || status === 304;
    const body = isBodiless ? null : await bodyFor(answer, visit);
    // Only where there is one against the rules: else the answer is over.
    if (isBodiless) answer.cancel();
    if (!(body instanceof ReadableStream)) visit.ended();
    return new Response(body, { status, headers });
  } catch (error) {
    answer.cancel();
    throw error;
  }
}
