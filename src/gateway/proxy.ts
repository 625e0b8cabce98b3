/**
 * Proxy: a request's way to an instance and its answer's way back. Rules:
 * - A short body with a length is read before an instance is asked for, so that a slow visitor
 *   holds none, and the request can be repeated. Any other body is passed on as it comes, as fast
 *   as the instance takes it.
 * - An answer of known and moderate length is passed on when it is whole: it keeps its length
 *   (Bun sends streams in chunks), and one that is cut short becomes a clean error. Any other is
 *   passed on as it comes, as fast as the visitor takes it; where it is cut short, its stream
 *   fails, and Bun resets the visitor's connection: no half answer looks whole.
 * - A visitor who leaves ends the session at once.
 */
import { frameable, type PreparedRequest } from "../parent/request.ts";
import { BusyError } from "../parent/errors.ts";
import type { SessionResponse } from "../parent/response.ts";
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
/** Bodies of answers up to this size are collected; longer ones cost less when passed on. */
const maxCollectedBytes = 256 * 1024;

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
    const options = { signal: request.signal, queueMs, responseMs, maxWaiting: maxQueue };
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
    const body = isHead || isBodiless(status) ? null : await bodyFor(answer, visit);
    visit.status = status;
    if (!(body instanceof ReadableStream)) visit.ended();
    return new Response(body, { status, headers });
  } catch (error) {
    answer.cancel();
    throw error;
  }
}

function isBodiless(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

type ResponseBody = Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;

async function bodyFor(answer: SessionResponse, visit: Visit): Promise<ResponseBody> {
  const whole = answer.takeWholeBody() ?? (await collect(answer));
  if (whole === undefined) return streamOf(answer, visit);
  visit.bytes = whole.length;
  return whole as Uint8Array<ArrayBuffer>;
}

/** The body if its length is known and moderate. */
async function collect(answer: SessionResponse): Promise<Uint8Array | undefined> {
  const { bodyLength } = answer;
  if (bodyLength === undefined || bodyLength > maxCollectedBytes) return undefined;
  const whole = new Uint8Array(bodyLength);
  let length = 0;
  for (let chunk = await answer.read(); chunk !== undefined; chunk = await answer.read()) {
    whole.set(chunk, length);
    length += chunk.length;
  }
  return whole;
}

function streamOf(answer: SessionResponse, visit: Visit): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        try {
          const chunk = await answer.read();
          if (chunk === undefined) {
            controller.close();
            visit.ended();
          } else {
            visit.bytes += chunk.length;
            controller.enqueue(chunk);
          }
        } catch (error) {
          visit.failure = error instanceof Error ? error.message : String(error);
          visit.ended();
          throw error;
        }
      },
      cancel(): void {
        answer.cancel();
        visit.ended();
      },
    },
    // Nothing is fetched ahead of the visitor: what has arrived is kept, bounded, by the session.
    { highWaterMark: 0 },
  );
}
