/** What becomes of restarts that somebody has asked for and waits for. */
import type { InspectedApplication, Inspection } from "../../wire/inspection.ts";

/** An application that restarts, perhaps. */
export interface AwaitedRestart {
  readonly name: string;
  /** What had become of it before the restart; undefined: the pool did not know it, or say so. */
  readonly before: InspectedApplication["counters"] | undefined;
}

export interface RestartOutcomes {
  /** A sentence for each that did not come to its new version. */
  readonly failed: readonly string[];
  /** The names of those that are still at it. */
  readonly underWay: readonly string[];
  /** The pool as it was seen last. */
  readonly pool: Inspection;
}

/** Between two looks whether a restart is over. */
const lookMs = 100;

/**
 * Waits until restarts are over: where all processes go at once, until one is there again that is
 * to be there.
 * @param inspect looks at the pool. @param awaited by root. @param limitMs most there is to wait.
 * @param asker aborted when nobody waits any more. @throws Error when the pool cannot be looked at.
 */
export async function awaitRestarts(
  inspect: () => Promise<Inspection>,
  awaited: ReadonlyMap<string, AwaitedRestart>,
  limitMs: number,
  asker: AbortSignal,
): Promise<RestartOutcomes> {
  const left = new Map(awaited);
  const failed: string[] = [];
  for (let waitedMs = 0; ; waitedMs += lookMs) {
    const pool = await inspect();
    const applications = new Map(pool.applications.map((one) => [one.root, one]));
    for (const [root, restart] of left) {
      const outcome = outcomeOf(restart, applications.get(root));
      if (outcome === "underWay") continue;
      left.delete(root);
      if (outcome !== "over") failed.push(outcome.why);
    }
    if (left.size === 0 || asker.aborted || waitedMs >= limitMs) {
      return { failed, underWay: [...left.values()].map(({ name }) => name), pool };
    }
    await Bun.sleep(lookMs);
  }
}

function outcomeOf(
  { name, before }: AwaitedRestart,
  found: InspectedApplication | undefined,
): "over" | "underWay" | { readonly why: string } {
  if (found === undefined) return "over";
  const { rollout, restartPending, spawns, counters } = found;
  const cause = found.lastSpawnError?.message ?? "it does not start";
  // One that was refused before, and whose processes are made as they were, is not restarted.
  if (rollout === "refused" && counters.restartsRefused !== before?.restartsRefused) {
    return { why: `'${name}' was not restarted, its old processes serve on: ${cause}` };
  }
  const isThere = isServed(found);
  const isOver = rollout === null || rollout === "refused";
  if (!isOver || restartPending || (!isThere && spawns.length > 0)) return "underWay";
  if (isThere || counters.spawnsFailed === (before?.spawnsFailed ?? 0)) return "over";
  const what = counters.restarts === (before?.restarts ?? 0) ? "" : "was restarted, and ";
  return { why: `'${name}' ${what}cannot be started: ${cause}` };
}

/** Whether there is a process that takes requests. */
export function isServed({ instances }: InspectedApplication): boolean {
  return instances.some(({ state }) => state !== "leaving" && state !== "dead");
}
