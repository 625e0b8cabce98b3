/**
 * Starts what ends an instance that is stuck after its server is gone (watchdog.c). Runs inside
 * instances.
 */
// oxlint-disable-next-line no-restricted-imports -- an instance, which has no src/native
import { cc } from "bun:ffi";

/** Libraries that are held for ever: the code of one is a signal handler. */
const held: unknown[] = [];

/** Does without where nothing can be compiled: then only what is not stuck ends in time. */
export function startWatchdog(): void {
  try {
    const compiled = cc({
      source: `${import.meta.dir}/watchdog.c`,
      symbols: { start_watchdog: { args: [], returns: "int" } },
    });
    held.push(compiled);
    compiled.symbols.start_watchdog();
  } catch {
    // It is a safeguard; the program runs without it.
  }
}
