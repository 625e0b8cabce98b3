/**
 * Waiting for what Bun's event loop cannot wait for: a descriptor that arrives on a socket. Bun's
 * own reader would drop it, so the socket is asked again and again without blocking. Rare (twice
 * per connection) and bounded: some turns of the event loop, for an answer that is a system call
 * away, then pauses that double up to a hundredth of a second.
 */
import { nextTurn } from "../native/event-loop.ts";

/**
 * Turns of the event loop before the first pause: a running server answers within a few of them.
 */
const eagerTurns = 20;
const longestPauseMs = 10;

/**
 * Asks `attempt` until it gives something. @returns undefined when `limitMs` have passed without.
 */
export async function retry<T>(
  limitMs: number,
  attempt: () => T | undefined,
): Promise<T | undefined> {
  const deadline = performance.now() + limitMs;
  for (let turn = 0; ; turn += 1) {
    const result = attempt();
    if (result !== undefined) return result;
    if (performance.now() >= deadline) return undefined;
    const pauseMs = Math.min(2 ** (turn - eagerTurns), longestPauseMs);
    await (turn < eagerTurns ? nextTurn() : Bun.sleep(pauseMs));
  }
}
