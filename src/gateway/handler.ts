/**
 * From a request to its answer: who asks, for which application, whether it may; then a file, or
 * the application by way of the proxy, or an answer of our own. Every request gets exactly one
 * answer and exactly one `onDone`, and every answer carries the request's id.
 */
import type { Server } from "bun";

import { Answer, type RequestProxy } from "./answer.ts";
import type { GatewayConfig } from "./config.ts";
import { errorAnswer } from "./error-pages.ts";
import { failureOf } from "./failures.ts";
import { fileResponse } from "./file-response.ts";
import { originOf, type Origin, type Peer } from "./forwarded.ts";
import { redirectToHttps, strictTransport } from "./https-only.ts";
import { idleSecondsOf } from "./limits.ts";
import { LiveVisit } from "./live-visit.ts";
import { refusalOf } from "./request-guard.ts";
import { presentHeaders } from "./request-headers.ts";
import { Router } from "./router.ts";
import { StaticFiles } from "./static-files.ts";
import { targetOf, type Target } from "./target.ts";
import { peerAddress, TrustedProxies } from "./trusted-proxies.ts";
import type { Visit } from "./visit.ts";

export interface HandlerOptions {
  readonly config: GatewayConfig;
  readonly proxy: RequestProxy;
  /** Once for every request, when its answer is over. */
  readonly onDone: (visit: Visit, request: Request) => void;
  /** Why a visitor is answered with an error. Without a visit: a mistake of ours. */
  readonly onFailure: (error: unknown, visit: Visit | undefined) => void;
}

/** What Bun.serve is given. */
export interface Handler {
  fetch(request: Request, server: Server<undefined>): Response | Promise<Response>;
  error(error: unknown): Response;
  /** Closes what it holds open; requests under way are not disturbed. */
  release(): void;
}

/** @throws RangeError when the configuration holds no address where one must be. */
export function createHandler(options: HandlerOptions): Handler {
  const gateway = new RequestHandler(options);
  return {
    fetch: (request, server) => gateway.fetch(request, server),
    error: (error) => {
      options.onFailure(error, undefined);
      return internalError(error);
    },
    release: () => gateway.release(),
  };
}

class RequestHandler {
  readonly #options: HandlerOptions;
  readonly #router: Router;
  readonly #trusted: TrustedProxies;
  readonly #files = new StaticFiles();
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
    const refusal = refusalOf(request, target, this.#options.config.limits.maxBodyBytes);
    const origin = originOf(headers, peer, this.#trusted);
    const visit = this.#begin(request, server, receivedMs, origin, target);
    const { tls } = this.#options.config;
    const answer = new Answer(request, visit, strictTransport(tls, origin.scheme));
    if (refusal !== undefined || target === undefined) return answer.refuse(refusal);
    const redirect = redirectToHttps(tls, origin, peer, target.text);
    if (redirect !== undefined) return answer.refuse(redirect);
    presentHeaders(headers, origin, this.#trusted.has(peer.address));
    return this.#route(answer, request, target);
  }

  release(): void {
    this.#files.close();
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
      onFailure: this.#options.onFailure,
    });
  }

  #route(answer: Answer, request: Request, { path }: Target): Response | Promise<Response> {
    const { visit } = answer;
    const app = this.#router.route(visit.host, path);
    if (app === undefined) return answer.refuse({ status: 404, reason: "nothing is served here" });
    visit.app = app;
    if (app.staticFiles && (request.method === "GET" || request.method === "HEAD")) {
      try {
        const file = this.#files.answer(app, request, path, visit.receivedMs);
        if (file !== undefined) return fileResponse(answer, request, file);
      } catch (error) {
        return answer.fail(error, app);
      }
    }
    return answer.from(app, this.#options.proxy);
  }
}

/** Only for mistakes of our own: everything that can be foreseen is answered before. */
function internalError(error: unknown): Response {
  const { status, reason } = failureOf(error);
  return errorAnswer({ status, reason, id: "none", accept: null }).response;
}
