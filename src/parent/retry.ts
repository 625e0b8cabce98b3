/**
 * Waiting for what Bun's event loop cannot wait for: a descriptor that arrives on a socket. Bun's
 * own reader would drop it, so the socket is asked again and again without blocking. Rare (twice
 * per connection) and bounded: some turns of the event loop, for an answer that is a system call
 * away, then pauses that are a part of the wait so far: what comes is late by no more than that.
 */
import { nextTurn } from "../native/event-loop.ts";

/** Turns of the event loop before the first pause: a running server answers within a few. */
const eagerTurns = 20;
const shortestPauseMs = 1;
const longestPauseMs = 10;
/** A server that is started anew takes some 20 ms, and is found 1 ms later. */
const pausePart = 1 / 16;

/** Asks `attempt` until it gives something. @returns undefined: `limitMs` have passed without. */
export async function retry<T>(
  limitMs: number,
  attempt: () => T | undefined,
): Promise<T | undefined> {
  const begunMs = performance.now();
  for (let turn = 0; ; turn += 1) {
    const result = attempt();
    if (result !== undefined) return result;
    const waitedMs = performance.now() - begunMs;
    if (waitedMs >= limitMs) return undefined;
    const pauseMs = Math.min(Math.max(waitedMs * pausePart, shortestPauseMs), longestPauseMs);
    await (turn < eagerTurns ? nextTurn() : Bun.sleep(pauseMs));
  }
}
