/**
 * A real Bun.serve with the handler, and a proxy that stands for applications: it notes what would
 * reach them, reads bodies to their end, and answers as the path tells it to.
 */
import { afterEach } from "bun:test";
import type { Server } from "bun";

import type { AppConfig, GatewayConfig } from "../../src/gateway/config.ts";
import type { RequestProxy } from "../../src/gateway/answer.ts";
import { logFailure } from "../../src/gateway/failure-log.ts";
import { createHandler } from "../../src/gateway/handler.ts";
import { serveOptions } from "../../src/gateway/limits.ts";
import { Upload } from "../../src/gateway/upload.ts";
import type { Visit } from "../../src/gateway/visit.ts";

export function app(name: string, changes: Partial<AppConfig> = {}): AppConfig {
  return {
    name,
    root: `/nonexistent/${name}`,
    hosts: [],
    prefix: "/",
    type: "rack",
    environment: "production",
    spawnMethod: "smart",
    env: {},
    maxInstances: 0,
    concurrency: 0,
    spawnTimeoutMs: 1000,
    staticFiles: false,
    showErrors: false,
    ...changes,
  };
}

export function configOf(changes: Partial<GatewayConfig> = {}): GatewayConfig {
  return {
    listen: [],
    tls: undefined,
    workers: 1,
    workerUser: undefined,
    apps: [app("main")],
    limits: {
      maxHeaderBytes: 16 * 1024,
      maxBodyBytes: 64 * 1024,
      idleMs: 60_000,
      queueMs: 0,
      responseMs: 0,
    },
    pool: { max: 6, maxPerApp: 0, maxIdleSeconds: 60, maxQueue: 0, globalQueue: true },
    trustedProxies: [],
    accessLog: "off",
    accessLogFile: undefined,
    drainMs: 1000,
    silenceMs: 10_000,
    logLevel: 0,
    logFormat: "text",
    ...changes,
  };
}

/** One request as an application would get it. */
export interface Reached {
  readonly app: string;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined: the body broke off. */
  readonly body: string | undefined;
}

type Listen = { readonly unix: string } | { readonly port: 0; readonly tls: Bun.TLSOptions };

export class Gateway {
  readonly server: Server<undefined>;
  readonly reached: Reached[] = [];
  readonly done: Visit[] = [];
  /** Lines of its own log, level first. */
  readonly logged: string[] = [];
  readonly log = {
    event: (level: number, event: string, fields: Record<string, string | number>): void => {
      this.logged.push(`${level} ${event} ${fields["status"]} ${fields["id"]} ${fields["cause"]}`);
    },
    error: (event: string, fields: Record<string, string>): void => {
      this.logged.push(`error ${event} ${fields["cause"]}`);
    },
  };
  /** What the application does instead of answering `reached`. */
  behave: (request: Request, visit: Visit) => Response | undefined | Promise<Response | undefined>;

  readonly #maxBodyBytes: number;

  constructor(config: GatewayConfig, listen?: Listen) {
    this.behave = () => undefined;
    const proxy: RequestProxy = { serve: (to, request, visit) => this.#serve(to, request, visit) };
    this.#maxBodyBytes = config.limits.maxBodyBytes;
    const handler = createHandler({
      config,
      proxy,
      onDone: (visit) => this.done.push({ ...visit }),
      onFailure: (error, visit) => logFailure(this.log, error, visit),
    });
    // Bun's types give Unix sockets no idle time; Bun does.
    this.server = Bun.serve({
      ...serveOptions(config.limits),
      ...(listen ?? { port: 0, hostname: "127.0.0.1" }),
      fetch: (request: Request, server: Server<undefined>) => handler.fetch(request, server),
      error: (error: unknown) => handler.error(error),
    } as Bun.Serve.Options<undefined>);
  }

  get port(): number {
    return this.server.port ?? 0;
  }

  url(path: string): string {
    return new URL(path, this.server.url).href;
  }

  async #serve(to: AppConfig, request: Request, visit: Visit): Promise<Response> {
    const seen = {
      app: to.name,
      method: request.method,
      target: visit.target,
      headers: Object.fromEntries(request.headers),
    };
    let body: string | undefined;
    try {
      body = await this.#read(request, visit);
    } finally {
      this.reached.push({ ...seen, body });
    }
    // No application answers within the turn of the event loop that brings the request.
    await Bun.sleep(5);
    const answer = (await this.behave(request, visit)) ?? new Response("reached");
    visit.ended();
    return answer;
  }

  async #read({ body }: Request, visit: Visit): Promise<string> {
    if (body === null) return "";
    const chunks = await Array.fromAsync(new Upload(body, this.#maxBodyBytes, visit.uploaded));
    return Buffer.concat(chunks).toString("latin1");
  }
}

/** To be called once at the top of a test file. */
export function gateways(): (changes?: Partial<GatewayConfig>, listen?: Listen) => Gateway {
  const started: Gateway[] = [];
  afterEach(() => {
    for (const gateway of started.splice(0)) void gateway.server.stop(true);
  });
  return (changes = {}, listen) => {
    const gateway = new Gateway(configOf(changes), listen);
    started.push(gateway);
    return gateway;
  };
}
