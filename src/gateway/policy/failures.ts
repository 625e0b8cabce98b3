/** What visitors are told when an application could not be asked or did not answer as it should. */
import {
  AnswerTimeoutError,
  BusyError,
  PoolError,
  PoolIOError,
  SessionError,
  SpawnError,
} from "../../parent/errors.ts";
import { SpoolError } from "../bodies/spool.ts";

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

/** What is left of the body is not read. */
export const bodyTooLarge: Failure = { status: 413, reason: "the body is too large" };

/** Nobody reads this answer; the status is for logs, as web servers write it. */
export const visitorGone: Failure = { status: 499, reason: "the visitor has gone" };

/** Its operator has the application refuse requests for now: for minutes, rather than seconds. */
export const paused: Failure = {
  status: 503,
  reason: "the site is being worked on, and will be back soon",
  retryAfterSeconds: 30,
};

/** What ends a request beside the errors of the library for parents. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly failure: Failure;

  constructor(failure: Failure, message: string) {
    super(message);
    this.failure = failure;
  }
}

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
  // Nothing of the request's own: many bodies at once, or a full disk.
  if (error instanceof SpoolError) {
    const reason = "there is no room for the request's body now";
    return { status: 503, reason, retryAfterSeconds: busySeconds };
  }
  if (error instanceof RefusedError) return error.failure;
  if (error instanceof AnswerTimeoutError) {
    return { status: 504, reason: "the application did not answer in time" };
  }
  if (error instanceof SessionError || error instanceof PoolIOError) {
    return { status: 502, reason: "the application did not answer properly" };
  }
  if (error instanceof PoolError) {
    const reason = "the application server is being restarted";
    return { status: 503, reason, retryAfterSeconds: restartSeconds };
  }
  return { status: 500, reason: "the application server has failed" };
}
