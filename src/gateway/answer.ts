/**
 * The answer to one request, whatever it becomes: the application's, a file, or one of our own. It
 * carries the request's id, says when the connection will be closed, and ends the visit.
 */
import type { AppConfig } from "./config.ts";
import { errorAnswer } from "./error-pages.ts";
import { failureOf, visitorGone } from "./failures.ts";
import type { LiveVisit } from "./live-visit.ts";
import type { Refusal } from "./request-guard.ts";
import { asksToClose } from "./request-headers.ts";
import type { Visit } from "./visit.ts";

/** What asks an application; `Proxy` is one. */
export interface RequestProxy {
  /**
   * Resolves when the head of the answer is there; what the visit says of `uploaded` and `ended`
   * holds from then on. Rejects with what failures.ts knows.
   */
  serve(app: AppConfig, request: Request, visit: Visit): Promise<Response>;
}

const strictTransportName = "Strict-Transport-Security";

export class Answer {
  readonly visit: LiveVisit;
  readonly #request: Request;
  readonly #accept: string | null;
  readonly #closes: boolean;
  readonly #strictTransport: string | undefined;

  /** Keeps what is needed of the headers: they are changed for the application. */
  constructor(request: Request, visit: LiveVisit, strictTransport: string | undefined) {
    this.#strictTransport = strictTransport;
    this.visit = visit;
    this.#request = request;
    this.#accept = request.headers.get("accept");
    this.#closes = asksToClose(request.headers);
  }

  /** The application's answer. */
  async from(app: AppConfig, proxy: RequestProxy): Promise<Response> {
    const { visit } = this;
    if (!hasBody(this.#request.headers)) visit.uploaded();
    try {
      return this.#complete(await proxy.serve(app, this.#request, visit));
    } catch (error) {
      return this.fail(error, app);
    }
  }

  /** An answer of our own, after which nothing more is read from this connection. */
  refuse(refusal: Refusal = { status: 400, reason: "the target is no path" }): Response {
    const { status, reason, headers = {} } = refusal;
    const response = this.#own(status, reason);
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    if (status !== 404) response.headers.set("Connection", "close");
    return response;
  }

  /** An answer of our own where the application's should have been. */
  fail(error: unknown, app: AppConfig): Response {
    const { visit } = this;
    const isGone = this.#request.signal.aborted;
    const { status, reason, retryAfterSeconds, page } = isGone ? visitorGone : failureOf(error);
    visit.failed(error, status);
    if (page !== undefined && app.showErrors) {
      const headers = { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" };
      return this.whole(new Response(page.slice(), { status, headers }), page.length);
    }
    const response = this.#own(status, reason);
    // The rest of a body that is too large must not be taken for a request.
    if (status === 413) response.headers.set("Connection", "close");
    if (retryAfterSeconds !== undefined) {
      response.headers.set("Retry-After", String(retryAfterSeconds));
    }
    return response;
  }

  #own(status: number, reason: string): Response {
    const { id } = this.visit;
    const { response, bytes } = errorAnswer({ status, reason, id, accept: this.#accept });
    return this.whole(response, bytes);
  }

  /** An answer whose body is there. */
  whole(response: Response, bytes: number): Response {
    const { visit } = this;
    this.#complete(response);
    visit.bytes = visit.method === "HEAD" ? 0 : bytes;
    visit.ended();
    return response;
  }

  #complete(response: Response): Response {
    this.visit.answering(response.status);
    response.headers.set("X-Request-Id", this.visit.id);
    // What the application says of it is kept.
    if (this.#strictTransport !== undefined && !response.headers.has(strictTransportName)) {
      response.headers.set(strictTransportName, this.#strictTransport);
    }
    // Bun closes the connection when it is asked to, but does not say so.
    if (this.#closes) response.headers.set("Connection", "close");
    return response;
  }
}

function hasBody(headers: Headers): boolean {
  const length = headers.get("content-length");
  return length === null ? headers.has("transfer-encoding") : Number(length) > 0;
}
