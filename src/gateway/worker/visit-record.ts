/**
 * What is known of one request while the gateway serves it: where it came from, what it is for, and
 * what became of it, for the access log, the gateway's own log, and error pages.
 */
import type { AppConfig } from "../config.ts";
import type { Origin } from "../policy/forwarded.ts";

export interface VisitRecord {
  readonly origin: Origin;
  /** By performance.now(). */
  readonly receivedMs: number;
  /** `-`: what was sent was no request. */
  readonly method: string;
  /** Path and query as they came, not decoded. */
  readonly target: string;
  /** Undefined: nothing is routed there. */
  readonly app: AppConfig | undefined;
  /** How long it waited for an instance, in milliseconds; 0 as long as none was asked for. */
  readonly queueMs: number;
  /** The instance that answered; 0: none. */
  readonly pid: number;
  /** 0 until the answer begins. */
  readonly status: number;
  /** Bytes of the answer's body so far. */
  readonly bytes: number;
  /** What went wrong, for logs; empty: nothing. */
  readonly failure: string;
}
