/**
 * The bounds that Bun itself holds for us, as it wants them told. It looks for idle connections
 * every four seconds, so an idle time of n seconds ends between n-4 and n: four more make it n at
 * least. A connection on which no request head is complete 10 to 12 seconds after it was opened is
 * closed whatever is said here, however slowly its bytes drip in.
 */
import http from "node:http";

import type { RequestLimits } from "./config.ts";

const lookSeconds = 4;
/** Bun takes no more. */
const maxIdleSeconds = 255;

/** The idle time for Bun.serve; 0: no limit. */
export function idleSecondsOf({ idleMs }: RequestLimits): number {
  if (idleMs === 0) return 0;
  return Math.min(maxIdleSeconds, Math.ceil(idleMs / 1000) + lookSeconds);
}

/** Options of Bun.serve for these limits. The size of heads is a setting of the whole process. */
export function serveOptions(limits: RequestLimits): {
  readonly development: false;
  readonly idleTimeout: number;
  readonly maxRequestBodySize: number;
} {
  // The types call it constant; Bun.serve reads it for every head.
  (http as { maxHeaderSize: number }).maxHeaderSize = limits.maxHeaderBytes;
  return {
    development: false,
    idleTimeout: idleSecondsOf(limits),
    // Its own answer would have no page, no id, and no line in the access log.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  };
}
