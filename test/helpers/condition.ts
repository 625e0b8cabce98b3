/**
 * Waiting for conditions, never for time. A bound ends a wait that will not come true; it is
 * generous, because it only matters when something is broken, and the machine may be busy.
 */

/** How long a condition may take unless a test says otherwise. */
export const patienceMs = 10_000;

/** The machine's clock, also while a test steps another. */
const now = performance.now.bind(performance);

const firstPauseMs = 1;
const maxPauseMs = 20;

/**
 * Waits until `probe` answers something other than false or undefined. @returns what it answered.
 * @param what the condition in words; the error says it. @throws Error when the patience is over,
 * with the last state.
 */
export async function until<T>(
  what: string,
  probe: () => T | false | undefined | Promise<T | false | undefined>,
  state: () => unknown = () => undefined,
  withinMs = patienceMs,
): Promise<T> {
  const end = now() + withinMs;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, maxPauseMs)) {
    const answer = await probe();
    if (answer !== false && answer !== undefined) return answer;
    if (now() >= end) {
      const last = state();
      const seen = last === undefined ? "" : `; last seen: ${Bun.inspect(last)}`;
      throw new Error(`waited ${withinMs} ms until ${what}${seen}`);
    }
    await Bun.sleep(pauseMs);
  }
}

/** The promise's value, or an error that says what did not come. */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  withinMs = patienceMs,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`waited ${withinMs} ms for ${what}`)), withinMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets the event loop turn: everything that is ready now gets its turn. */
export async function turn(times = 1): Promise<void> {
  for (let i = 0; i < times; i += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
