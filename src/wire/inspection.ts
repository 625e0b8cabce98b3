/**
 * What `inspect` answers: everything there is to know about the pool at one moment. One shape,
 * always with every key; ages and other times are milliseconds, what does not apply is null.
 */

export interface Inspection {
  /** What clients may change at any time. */
  readonly limits: {
    /** Instances, the ones being spawned included; at least 1. */
    readonly max: number;
    /** The same per application; 0: no limit. */
    readonly maxPerApp: number;
    /** An instance without a session is let go after this long; 0: at the next tick. */
    readonly maxIdleMs: number;
    /** Whether gets wait in the pool for a free instance, or in the backlog of a busy one. */
    readonly useGlobalQueue: boolean;
  };
  /** Instances in the pool, and those of them with a session. */
  readonly count: number;
  readonly active: number;
  /** Places held by instances still to come. */
  readonly spawning: number;
  /** Instances out of the pool that finish their sessions. */
  readonly leaving: number;
  readonly sessions: number;
  /** Gets that wait, and the age of the oldest. */
  readonly waiting: number;
  /** The name 2.0 has for `waiting`. */
  readonly waitingOnGlobalQueue: number;
  readonly oldestWaiterMs: number | null;
  readonly counters: InspectedCounters;
  /** In byte order of their roots. */
  readonly applications: readonly InspectedApplication[];
}

/** Events since the server's start. */
export interface InspectedCounters {
  readonly gets: number;
  readonly grants: number;
  /** Grants of an instance that was busy already. */
  readonly grantsOfBusy: number;
  /** Gets that were neither granted nor refused at once, and those of them that were withdrawn. */
  readonly waits: number;
  readonly cancels: number;
  readonly sessionsClosed: number;
  readonly refusals: Readonly<
    Record<"queueFull" | "timedOut" | "spawnFailed" | "cannotConnect", number>
  >;
  readonly spawnsPlanned: number;
  /** Planned, and given up before they began. */
  readonly spawnsDropped: number;
  readonly spawnsBegun: number;
  readonly spawnsDone: number;
  readonly spawnsFailed: number;
  readonly restarts: number;
  readonly clears: number;
  /** Instances that left the pool, by why. */
  readonly retirements: Readonly<Record<string, number>>;
  readonly deaths: number;
  readonly connectFailures: number;
  /** Sessions moved to another instance because the backlog of theirs was full. */
  readonly moves: number;
  /** Kept sessions that were asked for, and how clients answered while somebody waited for it. */
  readonly recalls: Readonly<Record<"sent" | "closed" | "kept" | "timedOut", number>>;
  readonly peakCount: number;
  readonly peakActive: number;
  readonly peakWaiting: number;
}

export interface InspectedApplication {
  /** As text, U+FFFD for what is not UTF-8; then `rootBase64` has the bytes, else it is null. */
  readonly root: string;
  readonly rootBase64: string | null;
  /** As configured; null: no limit of its own. */
  readonly maxInstances: number | null;
  /** A restart waits until the instances it would send away fit beside those still leaving. */
  readonly restartPending: boolean;
  /**
   * A rolling restart: the new code is tried, or has started and takes over; `refused`: it did not
   * start, and the old instances serve on.
   */
  readonly rollout: "trying" | "proven" | "refused" | null;
  /** Oldest first. */
  readonly instances: readonly InspectedInstance[];
  readonly waiting: number;
  /** The first 100 of them, first in line first, and how often they could not be connected. */
  readonly waiters: readonly { readonly ageMs: number; readonly failedConnects: number }[];
  /**
   * Instances still to come, begun ones first, oldest first; planned: it holds a place and waits
   * for its turn; outdated: a restart or clear has come since it began.
   */
  readonly spawns: readonly {
    readonly state: "planned" | "begun";
    readonly ageMs: number;
    readonly outdated: boolean;
  }[];
  /** Events of its own, as those of the whole pool. */
  readonly counters: {
    readonly spawnsDone: number;
    readonly spawnsFailed: number;
    readonly deaths: number;
    readonly restarts: number;
    /** Given up: the new code did not start. */
    readonly restartsRefused: number;
  };
  readonly lastSpawnError: { readonly message: string; readonly agoMs: number } | null;
  /** What is left of the pause after repeated failures. */
  readonly pauseMs: number | null;
}

export interface InspectedInstance {
  readonly pid: number;
  /**
   * idle: no session, nor one it is not done with; active: could take one more; busy: could not;
   * leaving: out of the pool, finishing its sessions; dead: the process is gone, sessions are open.
   */
  readonly state: "idle" | "active" | "busy" | "leaving" | "dead";
  /** Sessions it serves at once. */
  readonly concurrency: number;
  readonly sessions: number;
  /** Closed sessions that it is not done with. */
  readonly closing: number;
  /** Those of the open ones that their clients may keep for further requests. */
  readonly keptSessions: number;
  /** Those of the open ones that last, as after an upgrade, and take no place of `concurrency`. */
  readonly longSessions: number;
  readonly oldestSessionMs: number | null;
  /** Sessions that have ended. */
  readonly served: number;
  /** Requests, as far as clients have told. */
  readonly requests: number;
  readonly worn: "restarted" | "requests" | "age" | "memory" | null;
  readonly ageMs: number;
  /** Since a session of it began or ended last, or since it was ready. */
  readonly unusedMs: number;
}
