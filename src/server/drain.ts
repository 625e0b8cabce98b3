/**
 * What clients have sent before the end is carried out, gets that wait included: a parent that
 * reloads ends its server while its old workers still ask (PROTOCOL section 1).
 *
 * A client with nothing under way is closed, but for one with sessions: while a get waits, a
 * session's end may be what it waits for; and for a moment after the last answer an instance must
 * not be let go, since it may not have accepted its sessions yet.
 *
 * Gets that come later than a worker needs to ask for what it had begun before are not answered: a
 * parent waits for the end, and its old workers may go on asking.
 */
import type { Client } from "./client.ts";

/** The time that all of them have together (PROTOCOL section 1). */
const limitMs = 5_000;
/** How long gets are taken that come after the end (PROTOCOL section 1). */
const lastCallMs = 50;
/** The moment after the last answer: most requests end in it, and a parent does not notice it. */
const lingerMs = 100;
/** How often they are looked at. */
const lookEveryMs = 5;

/** @returns when no client is left, time is up, or `hurry` says not to wait. */
export async function drain(clients: ReadonlySet<Client>, hurry: AbortSignal): Promise<void> {
  const lastCall = performance.now() + lastCallMs;
  const until = performance.now() + limitMs;
  let isCalled = false;
  let lingerUntil = performance.now() + lingerMs;
  for (;;) {
    const now = performance.now();
    if (!isCalled && now >= lastCall) {
      isCalled = true;
      for (const client of clients) client.lastCall();
    }
    if ([...clients].some(({ underWay }) => underWay === "get")) lingerUntil = now + lingerMs;
    for (const client of clients) {
      const { underWay } = client;
      if (underWay === undefined || (underWay === "session" && now >= lingerUntil)) client.finish();
    }
    if (clients.size === 0 || now >= until || hurry.aborted) return;
    await Bun.sleep(lookEveryMs);
  }
}
