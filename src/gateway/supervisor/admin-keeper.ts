/**
 * The admin address, as the configuration has it: its socket, its process, and what is answered
 * there. Who may see what is decided here: figures without names of files, and whether all is well,
 * may be seen by whoever reaches the address; all else, and every change, wants the token.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

import { inTime } from "../../native/in-time.ts";
import { type MetricFormat, metricTypes } from "../../wire/metric-format.ts";
import { causeText } from "../../wire/cause.ts";
import type { GatewayStatus, ProcessStatus } from "../../wire/gateway-status.ts";
import type { AdminAnswer, AdminQuestion } from "../admin/admin-messages.ts";
import type { GatewayConfig, ListenAddress } from "../config.ts";
import { AdminProcess } from "./admin-process.ts";
import type { CarryOut } from "./control-socket.ts";
import { type ControlRequest, parseControlRequest } from "./control-request.ts";
import { processStatus } from "./process-status.ts";
import { Listener, showAddress } from "./listeners.ts";
import type { Report } from "./own-process.ts";
import { StatusChanges } from "./status-changes.ts";
import type { Supervisor } from "./supervisor.ts";

/** What may be asked with the token: nothing that ends the gateway. */
const allowed: ReadonlySet<ControlRequest["command"]> = new Set([
  "restart",
  "pause",
  "resume",
  "detach",
] as const);
/** A restart can take long; who waits is told so. */
const changeLimitMs = 5_000;
/** Nobody leaves before the answer. */
const never = new AbortController().signal;
/** However many ask, nothing is looked at more often. */
const freshMs = 900;

interface AdminKeeperOptions {
  readonly report: Report;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The exposition of a status. */
  metrics(status: GatewayStatus, format: MetricFormat): string;
  readonly carryOut: CarryOut;
  supervisor(): Supervisor;
}

/** What a configuration asks for, prepared: one of the two is called. */
export interface AdminChange {
  commit(): void;
  undo(): void;
}

interface Served {
  readonly address: string;
  readonly user: string | undefined;
  readonly listener: Listener;
  readonly process: AdminProcess;
}

export class AdminKeeper {
  readonly #options: AdminKeeperOptions;
  readonly #token = randomBytes(32).toString("base64url");
  readonly #changes = new StatusChanges();
  #served: Served | undefined;
  /** How many processes have taken the place of one that ended. */
  restarts = 0;
  #looked: { readonly sinceMs: number; readonly status: Promise<GatewayStatus> } | undefined;

  constructor(options: AdminKeeperOptions) {
    this.#options = options;
  }

  /** Where the dashboard is, and what opens it; undefined: nowhere. */
  get dashboard(): { readonly url: string; readonly token: string } | undefined {
    const served = this.#served;
    return served === undefined ? undefined : { url: served.listener.url, token: this.#token };
  }

  get processes(): ProcessStatus[] {
    const { pid, lagMs } = this.#served?.process ?? {};
    return pid === undefined ? [] : [processStatus("admin", pid, lagMs)];
  }

  /**
   * Prepares what a configuration asks for. @returns what makes it so, and what takes it back.
   * @throws ListenError when it cannot be had: then nothing has changed.
   */
  prepare(config: GatewayConfig): AdminChange {
    const { admin, workerUser: user } = config;
    const address = admin === undefined ? undefined : showAddress(admin);
    const old = this.#served;
    const isKept = address === old?.address;
    if (isKept && user === old?.user) return { commit: () => {}, undo: () => {} };
    const listener = isKept ? old?.listener : admin && Listener.open(admin, 1);
    return {
      commit: () => {
        void old?.process.close();
        if (!isKept) old?.listener.close();
        this.#served = undefined;
        if (admin === undefined || address === undefined || listener === undefined) return;
        const process = this.#serve(listener, admin, config);
        this.#served = { address, user, listener, process };
      },
      undo: () => {
        if (!isKept) listener?.close();
      },
    };
  }

  async close(): Promise<void> {
    const served = this.#served;
    this.#served = undefined;
    served?.listener.close();
    await served?.process.close();
  }

  #serve(listener: Listener, { kind }: ListenAddress, config: GatewayConfig): AdminProcess {
    const { report, env } = this.#options;
    const [socket] = listener.forPlace(0, 1);
    if (socket === undefined) throw new Error("the admin address has no socket");
    return new AdminProcess({
      listener: socket.fd,
      isTcp: kind === "tcp",
      user: config.workerUser,
      silenceMs: config.silenceMs,
      env,
      report,
      answer: (question) => this.#answer(question),
      replaced: () => (this.restarts += 1),
    });
  }

  async #answer(question: AdminQuestion): Promise<AdminAnswer> {
    const supervisor = this.#options.supervisor();
    if ("token" in question && !this.#isToken(question.token)) return plain(401, "no token");
    switch (question.what) {
      case "health":
        return supervisor.answers ? plain(200, "ok") : plain(503, "a process does not answer");
      case "readiness": {
        const isReady = supervisor.answers && !supervisor.isStopping;
        return isReady ? plain(200, "ready") : plain(503, "not ready");
      }
      case "metrics": {
        const body = this.#options.metrics(await this.#status(), question.format);
        return { status: 200, type: metricTypes[question.format], body };
      }
      case "status":
        return json(200, await this.#status());
      case "changes":
        return json(200, this.#changes.take(await this.#status()));
      case "hour":
        return json(200, supervisor.figures.lastHour(question.app));
      case "change":
        return this.#change(question.request);
    }
  }

  /** At most a moment old. */
  #status(): Promise<GatewayStatus> {
    const now = performance.now();
    if (this.#looked === undefined || now - this.#looked.sinceMs >= freshMs) {
      const status = this.#options.carryOut({ command: "status" }, never);
      this.#looked = { sinceMs: now, status: status as Promise<GatewayStatus> };
    }
    return this.#looked.status;
  }

  /** @param text of the request. */
  async #change(text: string): Promise<AdminAnswer> {
    try {
      const request = parseControlRequest(text);
      if (!allowed.has(request.command)) return json(403, { error: "that is not to be had here" });
      // What takes longer goes on; nobody waits for its end.
      const done = this.#options.carryOut(request, never);
      const carriedOut = done.then(() => json(200, {}));
      return await inTime(carriedOut, changeLimitMs, () => json(202, { pending: true }));
    } catch (error) {
      return json(409, { error: causeText(error) });
    }
  }

  /** Takes the same time for every text. */
  #isToken(text: string): boolean {
    return timingSafeEqual(digest(text), digest(this.#token));
  }
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function plain(status: number, text: string): AdminAnswer {
  return { status, type: "text/plain; charset=utf-8", body: `${text}\n` };
}

function json(status: number, value: unknown): AdminAnswer {
  return { status, type: "application/json", body: `${JSON.stringify(value)}\n` };
}
