/**
 * What the supervisor and the process of the admin address tell each other, over a control channel.
 * That process parses what strangers send, and knows nothing itself: each answer comes from the
 * supervisor, who asks for the token where one is needed.
 */
import type { MetricFormat } from "../../wire/metric-format.ts";
import type { Reading } from "../control-channel.ts";

/** What is asked for; `token`: as it was sent, or empty. */
export type AdminQuestion =
  | { readonly what: "metrics"; readonly format: MetricFormat }
  | { readonly what: "health" | "readiness" }
  /** `changes`: what of the status has changed since they were asked for last. */
  | { readonly what: "status" | "changes"; readonly token: string }
  | { readonly what: "hour"; readonly token: string; readonly app: string }
  /** `request`: one of the control socket's, as JSON. */
  | { readonly what: "change"; readonly token: string; readonly request: string };

/** As HTTP has it. */
export interface AdminAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export type ToAdmin =
  | { readonly kind: "serve"; readonly user: string | undefined; readonly isTcp: boolean }
  | { readonly kind: "ping" }
  | { readonly kind: "answer"; readonly id: number; readonly answer: AdminAnswer };

export type FromAdmin =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly why: string }
  | { readonly kind: "pong" }
  | { readonly kind: "ask"; readonly id: number; readonly question: AdminQuestion };

/** Questions that wait for their answers at a time; one more is not asked. */
export const maxQuestions = 32;
/** A token and a request: the longest is the name of an application. */
const maxFromAdminBytes = 16 * 1024;
/** The status of 10,000 applications and a thousand processes. */
const maxToAdminBytes = 48 * 1024 * 1024;

export const fromAdmin: Reading<FromAdmin> = {
  maxBytes: maxFromAdminBytes,
  parse: (value) => {
    const { kind, why, id, question } = Object(value) as Record<string, unknown>;
    if (kind === "ready" || kind === "pong") return { kind };
    if (kind === "failed") return { kind, why: String(why).slice(0, 500) };
    const asked = questionIn(question);
    if (kind !== "ask" || !Number.isSafeInteger(id) || asked === undefined) return undefined;
    return { kind, id: Number(id), question: asked };
  },
};

/** What it hears is what the supervisor has made. */
export const toAdmin: Reading<ToAdmin> = {
  maxBytes: maxToAdminBytes,
  parse: (value) => value as ToAdmin,
};

function questionIn(value: unknown): AdminQuestion | undefined {
  const { what, format, token, app, request } = Object(value) as Record<string, unknown>;
  if (what === "health" || what === "readiness") return { what };
  if (what === "metrics") return { what, format: format === "openmetrics" ? format : "prometheus" };
  if (typeof token !== "string") return undefined;
  if (what === "status" || what === "changes") return { what, token };
  if (what === "hour" && typeof app === "string") return { what, token, app };
  if (what === "change" && typeof request === "string") return { what, token, request };
  return undefined;
}
