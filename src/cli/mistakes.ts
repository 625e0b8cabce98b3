/** A mistake of ours that nobody has caught is logged, and all that depends on us goes on. */
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
