/**
 * What becomes of a mistake of ours that nobody has caught: every application depends on these
 * processes, so they log it and go on.
 */
import type { Log } from "../logging/log.ts";

export function reportMistakes(log: Pick<Log, "error">): void {
  const report = (error: unknown): void => {
    log.error("internal error", {
      cause: String(error),
      stack: error instanceof Error ? (error.stack ?? "") : "",
    });
  };
  process.on("uncaughtException", report);
  process.on("unhandledRejection", report);
}
