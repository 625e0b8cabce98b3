/**
 * From a request to its answer: who asks, for which application, whether it may; then a file, or
 * the application by way of the proxy, or an answer of our own. Every request gets exactly one
 * answer and exactly one `onDone`, and every answer carries the request's id.
 */
import type { Server } from "bun";

import type { AppConfig, GatewayConfig } from "./config.ts";
import { errorAnswer } from "./error-pages.ts";
import { failureOf, visitorGone } from "./failures.ts";
import { originOf, type Origin, type Peer } from "./forwarded.ts";
import { idleSecondsOf } from "./limits.ts";
import { LiveVisit } from "./live-visit.ts";
import { refusalOf, type Refusal } from "./request-guard.ts";
import { asksToClose, presentHeaders } from "./request-headers.ts";
import { Router } from "./router.ts";
import { targetOf, type Target } from "./target.ts";
import { peerAddress, TrustedProxies } from "./trusted-proxies.ts";
import type { Visit } from "./visit.ts";

/** What asks an application; `Proxy` is one. */
export interface RequestProxy {
  /**
   * Resolves when the head of the answer is there; what the visit says of `uploaded` and `ended`
   * holds from then on. Rejects with what failures.ts knows.
   */
  serve(app: AppConfig, request: Request, visit: Visit): Promise<Response>;
}

export interface HandlerOptions {
  readonly config: GatewayConfig;
  readonly proxy: RequestProxy;
  /** Once for every request, when its answer is over. */
  readonly onDone: (visit: Visit, request: Request) => void;
}

/** What Bun.serve is given. */
export interface Handler {
  fetch(request: Request, server: Server<undefined>): Response | Promise<Response>;
  error(error: unknown): Response;
}

/** @throws RangeError when the configuration holds no address where one must be. */
export function createHandler(options: HandlerOptions): Handler {
  const gateway = new RequestHandler(options);
  return {
    fetch: (request, server) => gateway.fetch(request, server),
    error: (error) => internalError(error),
  };
}

class RequestHandler {
  readonly #options: HandlerOptions;
  readonly #router: Router;
  readonly #trusted: TrustedProxies;
  readonly #idleSeconds: number;

  constructor(options: HandlerOptions) {
    this.#options = options;
    this.#router = new Router(options.config.apps);
    this.#trusted = new TrustedProxies(options.config.trustedProxies);
    this.#idleSeconds = idleSecondsOf(options.config.limits);
  }

  fetch(request: Request, server: Server<undefined>): Response | Promise<Response> {
    const receivedMs = performance.now();
    const { headers, url } = request;
    const target = targetOf(url);
    const peer: Peer = {
      address: peerAddress(server.requestIP(request)?.address),
      secure: url.startsWith("https:"),
    };
    const refusal = refusalOf(request, target);
    const origin = originOf(headers, peer, this.#trusted);
    const answer = new Answer(request, this.#begin(request, server, receivedMs, origin, target));
    if (refusal !== undefined || target === undefined) return answer.refuse(refusal);
    presentHeaders(headers, origin, this.#trusted.has(peer.address));
    return this.#route(answer, target);
  }

  #begin(
    request: Request,
    server: Server<undefined>,
    receivedMs: number,
    origin: Origin,
    target: Target | undefined,
  ): LiveVisit {
    return new LiveVisit({
      receivedMs,
      request,
      server,
      origin,
      target: target?.text ?? request.url,
      idleSeconds: this.#idleSeconds,
      onDone: this.#options.onDone,
    });
  }

  #route(answer: Answer, target: Target): Response | Promise<Response> {
    const { visit } = answer;
    const app = this.#router.route(visit.host, target.path);
    if (app === undefined) return answer.refuse({ status: 404, reason: "nothing is served here" });
    visit.app = app;
    return answer.from(app, this.#options.proxy);
  }
}

/** The answer to one request, whatever it becomes. */
class Answer {
  readonly visit: LiveVisit;
  readonly #request: Request;
  readonly #accept: string | null;
  readonly #closes: boolean;

  /** Keeps what is needed of the headers: they are changed for the application. */
  constructor(request: Request, visit: LiveVisit) {
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
      const response = await proxy.serve(app, this.#request, visit);
      visit.answering();
      return this.#complete(response);
    } catch (error) {
      visit.answering();
      return this.#fail(error, app);
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

  #fail(error: unknown, app: AppConfig): Response {
    const { visit } = this;
    const isGone = this.#request.signal.aborted;
    const { status, reason, retryAfterSeconds, page } = isGone ? visitorGone : failureOf(error);
    visit.failure = error instanceof Error ? error.message : String(error);
    if (page !== undefined && app.showErrors) {
      const headers = { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" };
      return this.#whole(new Response(page.slice(), { status, headers }), page.length);
    }
    const response = this.#own(status, reason);
    if (retryAfterSeconds !== undefined) {
      response.headers.set("Retry-After", String(retryAfterSeconds));
    }
    return response;
  }

  #own(status: number, reason: string): Response {
    const { id } = this.visit;
    const { response, bytes } = errorAnswer({ status, reason, id, accept: this.#accept });
    return this.#whole(response, bytes);
  }

  /** An answer whose body is there. */
  #whole(response: Response, bytes: number): Response {
    const { visit } = this;
    this.#complete(response);
    visit.bytes = visit.method === "HEAD" ? 0 : bytes;
    visit.ended();
    return response;
  }

  #complete(response: Response): Response {
    this.visit.status = response.status;
    response.headers.set("X-Request-Id", this.visit.id);
    // Bun closes the connection when it is asked to, but does not say so.
    if (this.#closes) response.headers.set("Connection", "close");
    return response;
  }
}

function hasBody(headers: Headers): boolean {
  const length = headers.get("content-length");
  return length === null ? headers.has("transfer-encoding") : Number(length) > 0;
}

/** Only for mistakes of our own: everything that can be foreseen is answered before. */
function internalError(error: unknown): Response {
  const { status, reason } = failureOf(error);
  return errorAnswer({ status, reason, id: "none", accept: null }).response;
}
