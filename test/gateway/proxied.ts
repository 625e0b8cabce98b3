/**
 * The real thing in one process but for its applications: a worker's listener and visits, and the
 * compiled pool server with instances of applications that a test writes.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Socket } from "bun";

import type { AppConfig, GatewayConfig } from "../../src/gateway/config.ts";
import { PoolLink } from "../../src/gateway/worker/pool-link.ts";
import { Site } from "../../src/gateway/worker/site.ts";
import { Visitors } from "../../src/gateway/worker/visitors.ts";
import { PoolKeeper } from "../../src/gateway/supervisor/pool-keeper.ts";
import { duplicate } from "../../src/native/fd.ts";
import { listenTcp, localAddress } from "../../src/native/listening-socket.ts";
import { attachPoolServer, type PoolAccess } from "../../src/parent/index.ts";
import { until } from "../helpers/condition.ts";
import { app, configOf, recordOf } from "./support.ts";

export class ProxiedGateway implements AsyncDisposable {
  /** The pool server, started anew when it dies. */
  readonly keeper: PoolKeeper;
  readonly #access: PoolAccess;
  readonly link: PoolLink;
  readonly visitors: Visitors;
  readonly port: number;
  /** Visits that are over. */
  readonly done: ReturnType<typeof recordOf>[] = [];

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
      const startup = { node: "app.js", rack: "config.ru", bun: "server.ts" };
      const { type = "bun" } = appChanges;
      if (!(type in startup)) throw new Error(`no startup file for ${type}`);
      writeFileSync(join(root, startup[type as keyof typeof startup]), program);
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
    const site = new Site({
      config,
      link: this.link,
      onDone: (visit) => this.done.push(recordOf(visit)),
      onFailure: () => {},
    });
    this.visitors = new Visitors(site, 10_000);
    const [socket] = listenTcp({ kind: "tcp", host: "127.0.0.1", port: 0 }, 1);
    if (socket === undefined) throw new Error("no listening socket");
    const address = localAddress(socket.number);
    this.port = address !== undefined && "port" in address ? address.port : 0;
    this.visitors.listen(socket, undefined);
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.url(path), { decompress: false, redirect: "manual", ...init });
  }

  /** A visitor without an HTTP library. */
  connect(): Promise<RawVisitor> {
    return RawVisitor.connect(this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.link.close();
    this.visitors.close();
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

  /** Reads nothing from now on. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  leave(): void {
    this.#socket.terminate();
  }
}
