/**
 * What is known of one request while the gateway serves it: where it came from, what it is for, and
 * what became of it, for the application's variables, the access log and error pages.
 *
 * The handler makes it, with `remoteAddress`, `scheme`, `host` and `id` past the trusted proxies.
 * By then the request's own headers say the same (X-Forwarded-For, -Proto, -Host, X-Request-Id),
 * and nothing that a visitor must not say: whoever passes the request on passes them as they are.
 */
import type { AppConfig } from "./config.ts";

export interface Visit {
  /** X-Request-Id: the visitor's if a trusted proxy sent it, else our own. */
  readonly id: string;
  /** By performance.now(). */
  readonly receivedMs: number;
  /** The visitor's address, past the trusted proxies; empty on a Unix socket without any. */
  readonly remoteAddress: string;
  readonly scheme: "http" | "https";
  /** As the visitor named it, with a port if there is one; may be empty. */
  readonly host: string;
  readonly method: string;
  /** Path and query as they came, not decoded. */
  readonly target: string;
  /** Undefined: nothing is routed there. */
  readonly app: AppConfig | undefined;
  /** How long it waited for an instance, in milliseconds; 0 as long as none was asked for. */
  queueMs: number;
  /** The instance that answered; 0: none. */
  pid: number;
  /** 0 until the answer begins. */
  readonly status: number;
  /** Bytes of the answer's body so far. */
  bytes: number;
  /** What went wrong, for logs; empty: nothing. */
  failure: string;
  /**
   * To be called by whoever reads the request's body when there is no more of it: from then on it
   * is the application that is waited for, not the visitor.
   */
  readonly uploaded: () => void;
  /**
   * To be called, by whoever makes the answer's body, when its last byte has been handed over or
   * the answer was given up; further calls do nothing. Not when there is an error instead of an
   * answer: then the handler makes one.
   */
  readonly ended: () => void;
}
