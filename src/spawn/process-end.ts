/** How child processes end: waiting for it, bringing it about, and saying it. */
import { signals } from "../native/process.ts";

/**
 * Waits until a process has exited, `ms` (or Infinity) have passed or `hurry` says to stop waiting.
 * @returns whether it has exited.
 */
export async function waitForExit(
  exited: Promise<unknown>,
  ms: number,
  hurry?: AbortSignal,
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const giveUp = () => resolve(false);
  const timer = ms === Infinity ? undefined : setTimeout(giveUp, ms);
  hurry?.addEventListener("abort", giveUp);
  if (hurry?.aborted === true) setTimeout(giveUp, 0);
  void exited.then(() => resolve(true));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    hurry?.removeEventListener("abort", giveUp);
  }
}

/** What somebody has left behind. */
export interface Remnant {
  isThere(): boolean | Promise<boolean>;
  signal(signal: number): void;
}

/** How often it is looked whether it has gone. */
const lookEveryMs = 50;
/** For how long SIGKILL is sent: a process that cannot be ended must not hold us up for ever. */
const killedMs = 2_000;

/**
 * Ends a remnant: SIGTERM, and SIGKILL to what is there after `terminatedMs`, or as soon as there
 * is a hurry.
 */
export async function endRemnant(
  remnant: Remnant,
  terminatedMs: number,
  hurry: AbortSignal,
): Promise<void> {
  if (!(await remnant.isThere())) return;
  remnant.signal(signals.SIGTERM);
  const untilMs = performance.now() + terminatedMs;
  while ((await remnant.isThere()) && performance.now() < untilMs && !hurry.aborted) {
    await Bun.sleep(lookEveryMs);
  }
  // Again and again: one that is being forked just now may come after the first.
  const killUntilMs = performance.now() + killedMs;
  while ((await remnant.isThere()) && performance.now() < killUntilMs) {
    remnant.signal(signals.SIGKILL);
    await Bun.sleep(lookEveryMs);
  }
}

/** `exited with status 1`, `was ended by SIGKILL`: for sentences about a process. */
export function exitText(process: {
  readonly exitCode: number | null;
  readonly signalCode: string | number | null;
}): string {
  if (process.signalCode !== null) return `was ended by ${process.signalCode}`;
  return `exited with status ${process.exitCode ?? "unknown"}`;
}
