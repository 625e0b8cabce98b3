/** How `serve` starts its pool server (PROTOCOL section 12 has what it is told later). */
import type { GatewayConfig } from "../config.ts";

/** With a look ten times a second, and its own start, whoever has no process has one in 2 s. */
const shareAfterSeconds = 1;

/** The pool server's command line: what can be set later is set at the start too. */
export function poolServerArguments(config: GatewayConfig): string[] {
  const { pool } = config;
  const options = {
    "log-format": config.logFormat,
    max: pool.max,
    "max-per-app": pool.maxPerApp,
    "max-idle-time": pool.maxIdleSeconds,
    "share-after": shareAfterSeconds,
    // When we exit, nothing is left.
    exit: "last",
  };
  const defaults = ["", "", "", ""]; // LOG_FILE: our stderr; RUBY; USER; STATUS_FIFO
  return [
    String(config.logLevel),
    "builtin",
    ...defaults,
    ...Object.entries(options).map(([name, value]) => `--${name}=${value}`),
  ];
}
