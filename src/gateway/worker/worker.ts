/**
 * A worker: serves HTTP on the listening sockets it has inherited, and gets sessions from the pool
 * server through the wake socket. The supervisor tells it what to serve and when to leave; if the
 * supervisor is gone, it leaves by itself.
 *
 * Leaving is: accept nothing more, answer with `Connection: close`, go when no connection is left,
 * at the limit in any case. Whom somebody else asks to leave, the supervisor replaces first.
 */
import { OwnedFd } from "../../native/owned-fd.ts";
import { getDescriptorLimit } from "../../native/process.ts";
import { causeText } from "../../wire/cause.ts";
import type { GatewayConfig } from "../config.ts";
import {
  ControlChannel,
  fromSupervisor,
  type PassedListener,
  type ToSupervisor,
  type ToWorker,
} from "../control-channel.ts";
import { Certificates } from "./tls.ts";
import { workerDescriptors } from "../supervisor/worker-process.ts";
import { rehearsal } from "./rehearsal.ts";
import { giveUpRights } from "./worker-rights.ts";
import type { PoolLink } from "./pool-link.ts";
import type { Site } from "./site.ts";
import { Visitors } from "./visitors.ts";

/** What answers requests, made anew for each worker process. */
export interface RequestServer {
  readonly site: Site;
  readonly link: PoolLink;
  reopenLogs(): void;
  /** Gives its connection to the pool server up and writes what is left to write. */
  close(): Promise<void>;
}

/** By then the start of all processes is over, and hardly any visitor has come. */
const rehearsalMs = 100;
/** While draining, how often it looks for connections that are left. */
const lookMs = 50;
/** What has been accepted just now may have a request that is yet to be read. */
const quietMs = 200;
/** One that nobody has used for so long is not used just now. */
const forgottenMs = 5_000;
/** Descriptors for all that is neither a visitor's nor an application's: logs, the pool server. */
const ownDescriptors = 64;
/** A quarter of the rest is for requests, but no more than this: 20 instances of 50 sessions. */
const maxReserved = 1000;

export class Worker {
  readonly #makeServer: (config: GatewayConfig) => RequestServer;
  readonly #ended = Promise.withResolvers<void>();
  #control: ControlChannel<ToWorker, ToSupervisor> | undefined;
  #requests: RequestServer | undefined;
  #visitors: Visitors | undefined;
  #config: GatewayConfig | undefined;
  #asked = false;

  /** @param makeServer throws an Error when the configuration cannot be served. */
  constructor(makeServer: (config: GatewayConfig) => RequestServer) {
    this.#makeServer = makeServer;
  }

  /** Runs until the supervisor, at the other end of `control`, has it leave or is gone. */
  async run(control: OwnedFd): Promise<void> {
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
      case "pauses":
        return this.#requests?.link.pause(new Map(Object.entries(message.pauses)));
      case "restart":
        return this.#requests?.link.restart(message.app);
      case "reopenLogs":
        return this.#requests?.reopenLogs();
      case "ping":
        return this.#control?.send({ kind: "pong" });
      case "figures":
        return this.#tellFigures(false);
    }
  }

  #serve(config: GatewayConfig, listeners: readonly PassedListener[]): void {
    this.#config = config;
    try {
      const requests = this.#makeServer(config);
      this.#requests = requests;
      const visitors = new Visitors(requests.site, maxConnections());
      this.#visitors = visitors;
      for (const { descriptor, tls } of listeners) {
        const certificates = tls ? new Certificates(config.tls) : undefined;
        visitors.listen(new OwnedFd(descriptor), certificates);
      }
      const rehearse = rehearsal(config);
      // The log is open, the certificate read, and nothing has been accepted yet.
      const unfenced = giveUpRights(config.workerUser, workerDescriptors.wake);
      this.#control?.send({ kind: "ready", unfenced });
      // Without it the first visitor waits a little longer.
      setTimeout(() => void rehearse().catch(() => {}), rehearsalMs).unref();
    } catch (error) {
      this.#control?.send({ kind: "failed", why: causeText(error) });
    }
  }

  #tellFigures(isLast: boolean): void {
    const apps = this.#requests?.site.counts.take() ?? [];
    const idle = this.#requests?.link.idleSessions() ?? [];
    this.#control?.send({ kind: "figures", apps, idle, isLast });
  }

  async #drain(limitMs: number, keepIdle: boolean): Promise<void> {
    if (this.#requests !== undefined) this.#requests.site.isDraining = true;
    // Nobody else will accept what waits in the queues: let the event loop take it first.
    if (!keepIdle) await Bun.sleep(0);
    this.#visitors?.stop();
    if (this.#visitors !== undefined) await this.#untilGone(this.#visitors, limitMs, keepIdle);
    // A second, stricter order overrules the first: its wait ends both.
    this.#visitors?.close();
    await this.#requests?.close();
    this.#tellFigures(true);
    this.#control?.close();
    this.#ended.resolve();
  }

  /** With a successor, requests and upgraded connections have limits of their own. */
  async #untilGone(visitors: Visitors, limitMs: number, keepIdle: boolean): Promise<void> {
    const { drainMs = 0, upgradedMs = 0 } = this.#config ?? {};
    for (let waitedMs = 0; visitors.size > 0 && waitedMs < limitMs; waitedMs += lookMs) {
      visitors.closeIdle(keepIdle ? forgottenMs : quietMs);
      if (waitedMs >= drainMs) visitors.closeRequests();
      if (waitedMs >= upgradedMs) visitors.closeSwitched();
      await Bun.sleep(lookMs);
    }
  }
}

/** What is left for visitors' connections: requests need sessions, files and spools besides. */
function maxConnections(): number {
  const free = Number(getDescriptorLimit().soft) - ownDescriptors;
  return Math.max(1, Math.floor(free - Math.min(maxReserved, free / 4)));
}
