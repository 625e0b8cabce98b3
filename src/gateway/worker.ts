/**
 * A worker: serves HTTP on the listening sockets it has inherited, and gets sessions from the pool
 * server through the wake socket. The supervisor tells it what to serve and when to leave; if the
 * supervisor is gone, it leaves by itself.
 *
 * Leaving is: accept nothing more, answer with `Connection: close`, go when no connection is left,
 * at the limit in any case. Whom somebody else asks to leave, the supervisor replaces first.
 */
import type { Server } from "bun";

import { countConnections } from "../native/listening-socket.ts";
import { OwnedFd } from "../native/owned-fd.ts";
import { becomeUser, findUser } from "../native/process.ts";
import { serveOn, type ServedListener } from "../native/serve-listener.ts";
import { causeText } from "../wire/cause.ts";
import type { GatewayConfig } from "./config.ts";
import {
  ControlChannel,
  fromSupervisor,
  type PassedListener,
  type ToSupervisor,
  type ToWorker,
} from "./control-channel.ts";
import type { Handler } from "./handler.ts";
import { serveOptions } from "./limits.ts";
import { Certificates } from "./tls.ts";

/** What answers requests, made anew for each worker process. */
export interface RequestServer extends Handler {
  /** Opens its logs anew. */
  reopenLogs(): void;
  /** Gives its connection to the pool server up and writes what is left to write. */
  close(): Promise<void>;
}

export interface WorkerOptions {
  /** The control channel's descriptor. */
  readonly control: OwnedFd;
  /** Makes what answers. @throws Error when the configuration cannot be served. */
  makeServer(config: GatewayConfig): RequestServer;
}

/** While draining, how often it looks for connections that are left. */
const lookMs = 50;

export class Worker {
  readonly #options: WorkerOptions;
  readonly #served: ServedListener[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #control: ControlChannel<ToWorker, ToSupervisor> | undefined;
  #requests: RequestServer | undefined;
  #config: GatewayConfig | undefined;
  #draining = false;
  #asked = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Runs until the supervisor has it leave, or is gone. */
  async run(): Promise<void> {
    const { control } = this.#options;
    this.#control = await ControlChannel.open<ToWorker, ToSupervisor>(control, fromSupervisor, {
      message: (message) => this.#obey(message),
      closed: () => this.#drainAlone(),
    });
    await this.#ended.promise;
  }

  /** Leaves once the supervisor has another one in its place; asked twice, at once. */
  leave(): void {
    if (this.#asked || this.#config === undefined) return this.#drainAlone();
    this.#asked = true;
    this.#control?.send({ kind: "leaves" });
  }

  #drainAlone(): void {
    void this.#drain(this.#config?.drainMs ?? 0, false);
  }

  #obey(message: ToWorker): void {
    switch (message.kind) {
      case "serve":
        return this.#serve(message.config, message.listeners);
      case "drain":
        return void this.#drain(message.limitMs, message.keepIdle);
      case "reopenLogs":
        return this.#requests?.reopenLogs();
      case "ping":
        return this.#control?.send({ kind: "pong" });
    }
  }

  #serve(config: GatewayConfig, listeners: readonly PassedListener[]): void {
    this.#config = config;
    try {
      const requests = this.#options.makeServer(config);
      this.#requests = requests;
      for (const listener of listeners) this.#served.push(this.#listen(config, listener, requests));
      // The log is open, the certificate read, and nothing has been accepted yet.
      if (config.workerUser !== undefined) becomeWorkerUser(config.workerUser);
      this.#control?.send({ kind: "ready" });
    } catch (error) {
      this.#control?.send({ kind: "failed", why: causeText(error) });
    }
  }

  #listen(
    config: GatewayConfig,
    { descriptor, tls }: PassedListener,
    requests: RequestServer,
  ): ServedListener {
    using listener = new OwnedFd(descriptor); // Bun has a duplicate of its own
    return serveOn(listener.number, (placeholder) =>
      Bun.serve({
        ...placeholder,
        ...serveOptions(config.limits),
        ...(tls ? { tls: certificatesOf(config).serveOptions } : {}),
        fetch: (request, server) => this.#answer(requests, request, server),
        error: (error) => requests.error(error),
      }),
    );
  }

  #answer(requests: RequestServer, request: Request, server: Server<undefined>) {
    const answer = requests.fetch(request, server);
    return answer instanceof Promise ? answer.then(this.#finish) : this.#finish(answer);
  }

  /** Bun closes the connection after the answer once it stops, but does not say so in it. */
  readonly #finish = (answer: Response): Response => {
    if (this.#draining) answer.headers.set("Connection", "close");
    return answer;
  };

  async #drain(limitMs: number, keepIdle: boolean): Promise<void> {
    // A second, stricter order overrules the first: its loop ends both.
    this.#draining = true;
    const deadline = performance.now() + limitMs;
    // Nobody else will accept what waits in the queues: let the event loop take it first.
    if (!keepIdle) await Bun.sleep(0);
    for (const listener of this.#served) listener.stopAccepting();
    if (!keepIdle) for (const { server } of this.#served) void server.stop();
    while (this.#hasConnections() && performance.now() < deadline) await Bun.sleep(lookMs);
    for (const { server } of this.#served) void server.stop(true);
    await this.#requests?.close();
    this.#ended.resolve();
  }

  /** With no descriptor free they cannot be counted, which says that there are some. */
  #hasConnections(): boolean {
    try {
      return countConnections(this.#served.map(({ address }) => address)) > 0;
    } catch {
      return true;
    }
  }
}

function certificatesOf({ tls }: GatewayConfig): Certificates {
  if (tls === undefined) throw new Error("an address with TLS, but no certificate");
  return Certificates.read(tls);
}

function becomeWorkerUser(name: string): void {
  const user = findUser(name);
  if (user === undefined) throw new Error(`worker_user '${name}' is not known on this system`);
  becomeUser(user);
}
