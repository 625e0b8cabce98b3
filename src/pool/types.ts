/**
 * What goes into the pool and what comes out of it: requests, limits, effects, and the snapshot.
 * Values only; the decisions are in settle.ts. Times are milliseconds of one clock that the caller
 * chooses and that never jumps.
 */

import type { AppRequest } from "../wire/app-request.ts";
import type { ByteString } from "../wire/bytes.ts";
import type { InstanceOptions } from "../wire/configure.ts";
import type { InspectedApplication, InspectedCounters, Inspection } from "../wire/inspection.ts";

declare const idOf: unique symbol;
type Id<Name extends string> = number & { readonly [idOf]: Name };

/** A get, counted in order of arrival: the smaller id came first. */
export type WaiterId = Id<"waiter">;
export type InstanceId = Id<"instance">;
/** A spawn that has begun. */
export type SpawnId = Id<"spawn">;
export type SessionId = Id<"session">;

export type PoolLimits = Inspection["limits"];

/** What is fixed for the life of a pool. */
export interface PoolOptions {
  /** A get that has waited this long is refused; 0: never. */
  readonly maxWaitMs: number;
  /** So many gets may wait, of all applications; 0: any number. */
  readonly maxQueue: number;
  /**
   * An application whose get has waited so long for a place is given one of another that has more
   * than its share; absent: never.
   */
  readonly shareAfterMs?: number;
  /** How long an instance may go on with a request whose client has left; 0: no limit. */
  readonly abandonMs?: number;
  /** How long a session that is not kept may be open; 0: no limit. */
  readonly requestMs?: number;
  /**
   * Slots: so many spawns may be under way; at least 1. An application takes another only while it
   * has fewer than are free.
   */
  readonly spawnsAtOnce: number;
  /**
   * A spawn that takes longer may hang: it has no slot any more, and its place is another's who can
   * use it. Infinity: never.
   */
  readonly slowSpawnMs: number;
  /** How long an application whose spawns fail again and again is left alone; absent: never. */
  readonly failurePause?: { readonly firstMs: number; readonly maxMs: number } | undefined;
}

/** What one application has of its own; absent: as the pool's options say. */
export interface ApplicationSettings extends Pick<InstanceOptions, CountedOption | "maxAgeMs"> {
  readonly abandonMs?: number | undefined;
  readonly requestMs?: number | undefined;
  /** How long one out of the pool keeps its upgraded sessions; absent: until they end. */
  readonly upgradedMs?: number | undefined;
  /** How long one may be idle; Infinity: for ever. */
  readonly maxIdleMs?: number | undefined;
  /** Whether a restart replaces instances one after the other, or lets all go at once. */
  readonly isRolling?: boolean | undefined;
}

type CountedOption = "maxInstances" | "minInstances" | "maxQueue" | "weight" | "maxRequests";

export interface GetRequest {
  readonly root: ByteString;
  /** Whatever a spawn for this get needs; the pool hands it back and never looks. */
  readonly options: AppRequest;
  /** The driver found a restart.txt to be heeded. */
  readonly restart: boolean;
  /** Sessions that an instance spawned for this get will probably serve at once; at least 1. */
  readonly expectedConcurrency: number;
  /** Whether the client may keep the session for further requests, and can be asked for it. */
  readonly kept: boolean;
  /**
   * So many instances share the application's gets: no more, and from 2 on all of them are wanted
   * with the first; 0 or absent: as many as gets need.
   */
  readonly instances?: number;
  /** The client would go on with an instance, or has none yet (undefined); absent: any will do. */
  readonly preference?: { readonly instance: InstanceId | undefined } | undefined;
}

/** `message` is for people; `page` is the HTML error page to hand on. */
export interface SpawnFailure {
  readonly message: string;
  readonly page?: Uint8Array | undefined;
}

/** Why a get is not served. `why` and `cause` are fragments of a sentence. */
export type GetRefusal =
  | { readonly kind: "busy"; readonly why: string }
  | { readonly kind: "spawnFailed"; readonly failure: SpawnFailure }
  | { readonly kind: "cannotConnect"; readonly cause: string };

/**
 * Why a request has no time left: its client gave it up some time ago, or it did and another
 * instance has to leave the pool; or it has a limit.
 */
export type Overrun = "abandoned" | "crowded" | "overdue" | "large" | "upgraded";

/** Why an instance is replaced. */
const wornReasons = [
  "restarted",
  /** It has served as many requests as it may. */
  "requests",
  /** It is as old as it may be. */
  "age",
  /** Its memory has grown as much as it may. */
  "memory",
] as const;
export type WornReason = (typeof wornReasons)[number];

/** Why an instance left the pool. */
export const retireReasons = [
  /** It was idle for longer than maxIdleMs. */
  "idle",
  /** Another application needed its place. */
  "evicted",
  /** max was lowered. */
  "excess",
  ...wornReasons,
  "cleared",
  /** Somebody had it leave. */
  "detached",
  /** A restart or clear came while it was being spawned. */
  "outdated",
  /** It could not be connected to. */
  "unreachable",
  /** A request took too long. */
  "overdue",
  /** Its memory has grown so much that its process is ended. */
  "hardMemory",
  "died",
  /** It died since the kernel gave its application no more memory. */
  "outOfMemory",
] as const;
export type RetireReason = (typeof retireReasons)[number];

/** What the driver has to do, in the order given. */
export type Effect =
  /** Begin to spawn now; `spawned` or `spawnFailed` is due. */
  | {
      readonly kind: "spawn";
      readonly spawn: SpawnId;
      readonly root: ByteString;
      readonly options: AppRequest;
    }
  /** Nobody has a use for the spawn any more: end it; `spawned` or `spawnFailed` is still due. */
  | { readonly kind: "endSpawn"; readonly spawn: SpawnId }
  /** Connect to the instance; `sessionClosed`, `sessionUnused` or `connectFailed` is due. */
  | {
      readonly kind: "grant";
      readonly waiter: WaiterId;
      readonly session: SessionId;
      readonly instance: InstanceId;
    }
  /** Ask the session's client to give it back; `sessionClosed` or `sessionKept` is due, soon. */
  | { readonly kind: "recall"; readonly session: SessionId }
  /** Answer the get; nothing of it is left in the pool. */
  | { readonly kind: "refuse"; readonly waiter: WaiterId; readonly refusal: GetRefusal }
  /** What it is at takes too long (`what` is the request, if that is known): end its process. */
  | {
      readonly kind: "giveUp";
      readonly instance: InstanceId;
      readonly overrun: Overrun;
      readonly what: string | undefined;
    }
  /** It has no session left: let it go. The last that is heard of this instance, once for each. */
  | { readonly kind: "retire"; readonly instance: InstanceId; readonly reason: RetireReason }
  /** Drop cached code of the application, before any later spawn of it. */
  | { readonly kind: "reload"; readonly root: ByteString }
  /** A rolling restart is over. refused: its code did not start, and the old instances serve on. */
  | { readonly kind: "rolledOut"; readonly root: ByteString; readonly outcome: "done" | "refused" };

export type Rollout = NonNullable<InspectedApplication["rollout"]>;

export type PoolCounters = Omit<InspectedCounters, "retirements"> & {
  readonly retirements: Readonly<Record<RetireReason, number>>;
};

/** As `inspect` shows it, but for the root, which is bytes here. */
export type ApplicationSnapshot = Omit<InspectedApplication, "root" | "rootBase64"> & {
  readonly root: ByteString;
};

export type PoolSnapshot = Omit<Inspection, "counters" | "applications"> & {
  readonly counters: PoolCounters;
  readonly applications: readonly ApplicationSnapshot[];
};
