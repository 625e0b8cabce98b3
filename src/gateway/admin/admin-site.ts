/**
 * What there is on the admin address, and how it is asked for. Answers come from the supervisor;
 * what is decided here is what a browser may do with them. Rules:
 * - On TCP the Host has to be this machine's own name: a page of somebody else's whose name has
 *   come to mean 127.0.0.1 gets nothing. Nor does a page of another origin.
 * - The token comes in the Authorization header, which no page can send that does not know it.
 */
import { metricFormatFor } from "../../wire/metric-format.ts";
import { HeadFields } from "../policy/request-fields.ts";
import { reasonOf } from "../worker/head-text.ts";
import type { AdminAnswer, AdminQuestion } from "./admin-messages.ts";
import type { AdminConnection, AdminRequest, AdminResponse } from "./admin-server.ts";
import { dashboard } from "./dashboard.ts";

/** Asks the supervisor. */
export type Ask = (question: AdminQuestion) => Promise<AdminAnswer>;

/** Each gets the whole status, and then once a second what has changed. */
const maxListeners = 8;
const eventEveryMs = 1_000;

const ownHosts = /^(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?$/i;

const common =
  "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n" +
  "Cross-Origin-Resource-Policy: same-origin\r\n";

export class AdminSite {
  readonly #ask: Ask;
  readonly #isTcp: boolean;
  readonly #listeners = new Set<AdminConnection>();
  /** Of them, those that have not taken one in time: they need the whole again. */
  readonly #behind = new Set<AdminConnection>();
  /** Of a listener, by which all are served. */
  #token = "";
  #clock: ReturnType<typeof setInterval> | undefined;
  #isAsking = false;

  constructor(ask: Ask, isTcp: boolean) {
    this.#ask = ask;
    this.#isTcp = isTcp;
  }

  async respond({ head, body }: AdminRequest, connection: AdminConnection): Promise<AdminResponse> {
    const { method, target, host } = head;
    const fields = new HeadFields(head.fields);
    if (this.#isTcp && !ownHosts.test(host)) return refusal(421, "this is not the host's name");
    const origin = fields.get("origin");
    if (origin !== null && new URL(`http://${host}`).host !== URL.parse(origin)?.host) {
      return refusal(403, "another origin");
    }
    const [, token = ""] =
      /^Bearer +([A-Za-z0-9_-]{1,200})$/i.exec(fields.get("authorization") ?? "") ?? [];
    if (target.path === "/change") {
      if (method !== "POST") return refusal(405, "POST is served here", "Allow: POST\r\n");
      return this.#answer({ what: "change", token, request: body });
    }
    if (method !== "GET" && method !== "HEAD") {
      return refusal(405, "GET is served here", "Allow: GET, HEAD\r\n");
    }
    switch (target.path) {
      case "/":
        return { status: 200, lines: `${common}${dashboard.lines}`, body: dashboard.page };
      case "/metrics":
        return this.#answer({ what: "metrics", format: metricFormatFor(fields.get("accept")) });
      case "/healthz":
        return this.#answer({ what: "health" });
      case "/readyz":
        return this.#answer({ what: "readiness" });
      case "/status.json":
        return this.#answer({ what: "status", token });
      case "/hour.json":
        return this.#answer({ what: "hour", token, app: appIn(target.text) });
      case "/events":
        return this.#listen(token, connection);
      default:
        return refusal(404, "there is no such page");
    }
  }

  async #answer(question: AdminQuestion): Promise<AdminResponse> {
    return answered(await this.#ask(question));
  }

  async #listen(token: string, connection: AdminConnection): Promise<AdminResponse> {
    const first = await this.#ask({ what: "status", token });
    if (first.status !== 200) return answered(first);
    if (this.#listeners.size >= maxListeners) {
      return refusal(503, "too many listen already", "Retry-After: 10\r\n");
    }
    this.#token = token;
    this.#listeners.add(connection);
    connection.onGone = () => this.#left(connection);
    this.#clock ??= setInterval(() => void this.#tell(), eventEveryMs);
    const lines = `${common}Content-Type: text/event-stream\r\n`;
    return { status: 200, lines, body: eventOf(first.body), isStream: true };
  }

  #left(connection: AdminConnection): void {
    this.#listeners.delete(connection);
    this.#behind.delete(connection);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#clock);
    this.#clock = undefined;
  }

  async #tell(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    await this.#tellAll("changes");
    if ([...this.#behind].some(({ takesMore }) => takesMore)) await this.#tellAll("status");
    this.#isAsking = false;
  }

  async #tellAll(what: "changes" | "status"): Promise<void> {
    const { status, body } = await this.#ask({ what, token: this.#token });
    const to = what === "status" ? this.#behind : this.#listeners;
    for (const listener of to) {
      // Changes that went to nobody are missed, too.
      const isTold = status === 200 && listener.takesMore;
      if (isTold && (what === "status" || !this.#behind.has(listener))) {
        listener.push(eventOf(body));
        this.#behind.delete(listener);
      } else {
        this.#behind.add(listener);
      }
    }
  }
}

/** JSON in one line. */
function eventOf(body: string): string {
  return `data: ${body.trimEnd()}\n\n`;
}

function answered({ status, type, body }: AdminAnswer): AdminResponse {
  return { status, lines: `${common}Content-Type: ${type}\r\n`, body };
}

function refusal(status: number, why: string, lines = ""): AdminResponse {
  const body = `${status} ${reasonOf(status)}: ${why}\n`;
  return { status, lines: `${common}Content-Type: text/plain\r\n${lines}`, body };
}

function appIn(target: string): string {
  return new URL(target, "http://localhost").searchParams.get("app") ?? "";
}
