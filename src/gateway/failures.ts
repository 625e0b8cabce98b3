/** What visitors are told when an application could not be asked or did not answer as it should. */
import { BusyError, PoolError, PoolIOError, SessionError, SpawnError } from "../parent/errors.ts";

export interface Failure {
  readonly status: number;
  /** For visitors; a sentence without its full stop. */
  readonly reason: string;
  /** When to come again. */
  readonly retryAfterSeconds?: number;
  /** A page for a developer's eyes, as it came. */
  readonly page?: Uint8Array;
}

/** The pool is full: some seconds help. It is being started anew: one does. */
const busySeconds = 5;
const restartSeconds = 1;

/** Nobody reads this answer; the status is for logs, as web servers write it. */
export const visitorGone: Failure = { status: 499, reason: "the visitor has gone" };

/** Errors of the proxy that are not the library's, by their names. */
const byName: Readonly<Record<string, Failure>> = {
  BadRequestError: { status: 400, reason: "the request cannot be passed on" },
  VisitorGoneError: visitorGone,
  AnswerTimeoutError: { status: 504, reason: "the application did not answer in time" },
};

/** The answer that an error of the proxy comes to; what is no error of its own is ours: 500. */
export function failureOf(error: unknown): Failure {
  if (error instanceof SpawnError) {
    const reason = "the application could not be started";
    return { status: 500, reason, ...(error.page !== undefined && { page: error.page }) };
  }
  if (error instanceof BusyError) {
    const reason = "too many requests are waiting for the application";
    return { status: 503, reason, retryAfterSeconds: busySeconds };
  }
  const named = error instanceof Error ? byName[error.name] : undefined;
  if (named !== undefined) return named;
  if (error instanceof SessionError || error instanceof PoolIOError) {
    return { status: 502, reason: "the application did not answer properly" };
  }
  if (error instanceof PoolError) {
    const reason = "the application server is being restarted";
    return { status: 503, reason, retryAfterSeconds: restartSeconds };
  }
  return { status: 500, reason: "the application server has failed" };
}
