/**
 * Requests that failed, in the gateway's own log: why, under the id that the visitor has been told.
 * What an application did wrong is a warning; that there are too many requests, or what the pool
 * server says itself, a notable event; visitors who leave or send too much are neither.
 */
import { SpawnError } from "../../parent/errors.ts";
import { causeText } from "../../wire/cause.ts";
import type { VisitRecord } from "../worker/visit-record.ts";

interface FailureLog {
  event(level: 0 | 1 | 2, event: string, fields: Record<string, string | number>): void;
  error(event: string, fields: Record<string, string>): void;
}

/** @param visit undefined: the failure is none of a request's. */
export function logFailure(log: FailureLog, error: unknown, visit: VisitRecord | undefined): void {
  const cause = causeText(error);
  if (visit === undefined || (visit.status === 500 && !(error instanceof SpawnError))) {
    const stack = error instanceof Error ? (error.stack ?? "") : "";
    return log.error("internal error", { cause, stack });
  }
  const { origin, status, app } = visit;
  log.event(levelOf(status), "request failed", {
    id: origin.id,
    app: app?.name ?? "",
    status,
    cause,
  });
}

function levelOf(status: number): 0 | 1 | 2 {
  if (status === 502 || status === 504) return 0;
  return status >= 500 ? 1 : 2;
}
