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
import { PoolKeeper } from "../../src/gateway/pool-keeper.ts";
import { duplicate } from "../../src/native/fd.ts";
import { attachPoolServer, type PoolAccess } from "../../src/parent/index.ts";
import { until } from "../helpers/condition.ts";
import { app, configOf } from "./support.ts";

export class ProxiedGateway implements AsyncDisposable {
  /** The pool server, started anew when it dies. */
  readonly keeper: PoolKeeper;
  readonly #access: PoolAccess;
  readonly link: PoolLink;
  readonly server: Server<undefined>;
  /** Visits that are over. */
  readonly done: Visit[] = [];

  /**
   * @param apps names and programs of the applications; the first is served at every host, the
   * others at the one of their name.
   * @param options of the pool server's command line.
   */
  static start(
    directory: string,
    apps: Readonly<Record<string, string>>,
    changes: Partial<GatewayConfig> = {},
    options: readonly string[] = [],
    appChanges: Partial<AppConfig> = {},
  ): ProxiedGateway {
    const configs = Object.entries(apps).map(([name, program], index) => {
      const root = join(directory, name);
      mkdirSync(root);
      writeFileSync(join(root, "server.ts"), program);
      return app(name, { root, type: "bun", hosts: index === 0 ? [] : [name], ...appChanges });
    });
    return new ProxiedGateway(configs, changes, options);
  }

  private constructor(
    apps: AppConfig[],
    changes: Partial<GatewayConfig>,
    options: readonly string[],
  ) {
    const config = configOf({ apps, ...changes });
    this.keeper = new PoolKeeper({
      commandLine: () => ["0", "builtin", "", "", "", "", ...options],
      env: process.env,
      report: () => {},
      duty: config,
    });
    this.#access = attachPoolServer(duplicate(this.keeper.wakeFd).take());
    this.link = new PoolLink(this.#access, apps);
    const handler = createHandler({
      config,
      onFailure: () => {},
      proxy: new Proxy(this.link, { ...config.limits, maxQueue: config.pool.maxQueue }),
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
    await this.#access.close();
    await this.keeper.close();
  }
}

/** A connection that says and hears bytes. */
export class RawVisitor {
  received = "";
  /** How the gateway has ended the connection: a reset shows as a close without an end. */
  ended: "no" | "end" | "reset" = "no";
  /** Bytes of `sendAll` that the kernel has taken. */
  sentBytes = 0;
  #socket!: Socket;
  #drained: (() => void) | undefined;

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
        drain: () => visitor.#drained?.(),
        error: () => {},
      },
    });
    return visitor;
  }

  send(text: string): void {
    this.#socket.write(Buffer.from(text, "latin1"));
  }

  /** Sends as fast as they are taken. */
  async sendAll(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) {
      for (let rest = piece; rest.length > 0;) {
        const sent = Math.max(0, this.#socket.write(rest));
        this.sentBytes += sent;
        rest = rest.subarray(sent);
        if (rest.length === 0) break;
        await new Promise<void>((resolve) => {
          this.#drained = resolve;
        });
      }
    }
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
