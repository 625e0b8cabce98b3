/**
 * The real thing in one process but for its applications: Bun.serve, the handler, the proxy, and
 * the compiled pool server with instances of bun applications that a test writes.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Server, Socket } from "bun";

import type { AppConfig, GatewayConfig } from "../../src/gateway/config.ts";
import { createHandler } from "../../src/gateway/handler.ts";
import { serveOptions } from "../../src/gateway/limits.ts";
import { PoolLink } from "../../src/gateway/pool-link.ts";
import { Proxy } from "../../src/gateway/proxy.ts";
import type { Visit } from "../../src/gateway/visit.ts";
import { type PoolServer, startPoolServer } from "../../src/parent/index.ts";
import { until } from "../helpers/condition.ts";
import { app, configOf } from "./support.ts";

export class ProxiedGateway implements AsyncDisposable {
  readonly pool: PoolServer;
  readonly link: PoolLink;
  readonly server: Server<undefined>;
  /** Visits that are over. */
  readonly done: Visit[] = [];

  /** @param apps names and programs of the applications; the first is served at every host. */
  static start(
    directory: string,
    apps: Readonly<Record<string, string>>,
    changes: Partial<GatewayConfig> = {},
    options: readonly string[] = [],
  ): ProxiedGateway {
    const configs = Object.entries(apps).map(([name, program], index) => {
      const root = join(directory, name);
      mkdirSync(root);
      writeFileSync(join(root, "server.ts"), program);
      return app(name, { root, type: "bun", hosts: index === 0 ? [] : [name] });
    });
    return new ProxiedGateway(configs, changes, options);
  }

  private constructor(
    apps: AppConfig[],
    changes: Partial<GatewayConfig>,
    options: readonly string[],
  ) {
    const config = configOf({ apps, ...changes });
    this.pool = startPoolServer({ extraOptions: options });
    this.link = new PoolLink(this.pool, apps);
    const handler = createHandler({
      config,
      proxy: new Proxy(this.link, config.limits),
      onDone: (visit) => this.done.push({ ...visit }),
    });
    this.server = Bun.serve({
      ...serveOptions(config.limits),
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request, server) => handler.fetch(request, server),
      error: (error) => handler.error(error),
    });
  }

  url(path: string): string {
    return new URL(path, this.server.url).href;
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.url(path), { decompress: false, redirect: "manual", ...init });
  }

  /** A visitor without an HTTP library. */
  connect(): Promise<RawVisitor> {
    return RawVisitor.connect(this.server.port ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.link.close();
    await this.server.stop(true);
    await this.pool.close();
  }
}

/** A connection that says and hears bytes. */
export class RawVisitor {
  received = "";
  /** How the gateway has ended the connection: a reset shows as a close without an end. */
  ended: "no" | "end" | "reset" = "no";
  #socket!: Socket;

  static async connect(port: number): Promise<RawVisitor> {
    const visitor = new RawVisitor();
    visitor.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      allowHalfOpen: true,
      socket: {
        data: (_, chunk) => {
          visitor.received += chunk.toString("latin1");
        },
        end: () => {
          visitor.ended = "end";
        },
        close: () => {
          if (visitor.ended === "no") visitor.ended = "reset";
        },
        error: () => {},
      },
    });
    return visitor;
  }

  send(text: string): void {
    this.#socket.write(Buffer.from(text, "latin1"));
  }

  get(path: string, headers = ""): void {
    this.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`);
  }

  async has(text: string): Promise<void> {
    await until(
      `'${text}' has come`,
      () => this.received.includes(text),
      () => this.received,
    );
  }

  async end(): Promise<void> {
    await until("the gateway has closed the connection", () => this.ended !== "no");
  }

  leave(): void {
    this.#socket.terminate();
  }
}
