/** How child processes end: waiting for it, and saying it. */

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

/** `exited with status 1`, `was ended by SIGKILL`: for sentences about a process. */
export function exitText(process: {
  readonly exitCode: number | null;
  readonly signalCode: string | number | null;
}): string {
  if (process.signalCode !== null) return `was ended by ${process.signalCode}`;
  return `exited with status ${process.exitCode ?? "unknown"}`;
}
