/**
 * A visit under way: what the handler fills in, and the connection's patience. While the visitor
 * has something to do (send a body, take an answer), the connection is closed after the idle time;
 * while the application is waited for, it is not: the proxy has limits for that.
 */
import type { Server } from "bun";

import { causeText } from "../wire/cause.ts";
import type { AppConfig } from "./config.ts";
import type { Origin } from "./forwarded.ts";
import type { Visit } from "./visit.ts";

export interface VisitStart {
  readonly receivedMs: number;
  readonly request: Request;
  readonly server: Server<undefined>;
  readonly origin: Origin;
  readonly target: string;
  /** As Bun takes it; 0: no limit. */
  readonly idleSeconds: number;
  readonly onDone: (visit: Visit, request: Request) => void;
  readonly onFailure: (error: unknown, visit: Visit) => void;
}

export class LiveVisit implements Visit {
  readonly id: string;
  readonly receivedMs: number;
  readonly remoteAddress: string;
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly method: string;
  readonly target: string;
  app: AppConfig | undefined = undefined;
  queueMs = 0;
  pid = 0;
  status = 0;
  bytes = 0;
  failure = "";
  readonly #start: VisitStart;
  #known: "answered" | "ended" | "both" | undefined = undefined;

  constructor(start: VisitStart) {
    const { origin, request } = start;
    this.#start = start;
    this.id = origin.id;
    this.receivedMs = start.receivedMs;
    this.remoteAddress = origin.remoteAddress;
    this.scheme = origin.scheme;
    this.host = origin.host;
    this.method = request.method;
    this.target = start.target;
  }

  readonly uploaded = (): void => this.#allow(0);

  /** The answer begins: from now on it is for the visitor to take it. */
  answering(status: number): void {
    this.status = status;
    this.#allow(this.#start.idleSeconds);
    this.#endIf("answered");
  }

  /** An error is answered instead, with this status. */
  failed(error: unknown, status: number): void {
    this.failure = causeText(error);
    this.status = status;
    this.#start.onFailure(error, this);
  }

  readonly ended = (): void => this.#endIf("ended");

  /** The end is when the answer has a status and its body is over, whichever is known first. */
  #endIf(known: "answered" | "ended"): void {
    if (this.#known === "both" || this.#known === known) return;
    if (this.#known === undefined) {
      this.#known = known;
      return;
    }
    this.#known = "both";
    this.#start.onDone(this, this.#start.request);
  }

  #allow(seconds: number): void {
    const { server, request, idleSeconds } = this.#start;
    if (idleSeconds > 0) server.timeout(request, seconds);
  }
}
