/**
 * What the pool knows: applications, their instances and spawns, gets and sessions. Data and its
 * plain readings only; state.ts changes it, settle.ts decides.
 */

import type { AppRequest } from "../wire/app-request.ts";
import type { ByteString } from "../wire/bytes.ts";
import { type FailureRecord, Failures } from "./failures.ts";
import { HeapEntry } from "./heap.ts";
import type { Keeping, Kept } from "./kept.ts";
import { type InLine, Line } from "./line.ts";
import { Link, List } from "./list.ts";
import { LoadOrder } from "./load-order.ts";
import type { Overdue } from "./overdue.ts";
import type {
  ApplicationSettings,
  GetRequest,
  InstanceId,
  RetireReason,
  Rollout,
  SessionId,
  SpawnId,
  WaiterId,
  WornReason,
} from "./types.ts";

/** Of applications that are not configured. */
export const NO_SETTINGS: ApplicationSettings = Object.freeze({});

export class ApplicationRecord {
  readonly root: ByteString;
  /** Its own, from `configure`. */
  settings: ApplicationSettings = NO_SETTINGS;
  /** Instances that can take a session. */
  readonly available = new LoadOrder<InstanceRecord>();
  /** Instances with as many sessions as they serve at once, or more. */
  readonly full = new LoadOrder<InstanceRecord>();
  /** Those of the two that have nothing to do, idle longest first. */
  readonly idle = new List<InstanceRecord>();
  /** How many of the two are not idle. */
  busy = 0;
  /** Instances out of the pool with open sessions, or abandoned ones that have their time. */
  readonly outside = new List<InstanceRecord>();
  /** Of those, the ones without an open session. */
  finishing = 0;
  readonly planned = new List<Spawn>();
  /** Begun since the last restart or clear, oldest first. */
  readonly begun = new List<Spawn>();
  /** Begun before it, oldest first. */
  readonly outdated = new List<Spawn>();
  /** Its spawns that hold a slot. */
  slots = 0;
  /** Its spawns under way whose places others have. */
  unplaced = 0;
  /** In the pool's queue for slots while it has planned spawns. */
  readonly turn = new HeapEntry<ApplicationRecord>(this);
  readonly line = new Line<Waiter>();
  /** Kept sessions of its instances in the pool that were not asked for, longest open first. */
  readonly unasked = new List<Kept>();
  /** Recalls of such sessions that are not answered. */
  recalling = 0;
  /** Places that instances are about to report as free. */
  promised = 0;
  /** In the pool's queue of ends while gets put off spawning and sharing for their sake. */
  readonly hold = new HeapEntry<ApplicationRecord>(this);
  readonly failures = new Failures();
  /** In one of the pool's two queues for places while a get waits that no spawn is for. */
  readonly hunger = new HeapEntry<ApplicationRecord>(this);
  readonly alarm = new HeapEntry<ApplicationRecord>(this);
  /** What the last instance that became ready said it serves at once. */
  lastConcurrency: number | undefined;
  /** What the last get thought it would be. */
  expectedConcurrency = 1;
  /** What the last get said how many share its gets; 0: as many as are needed. */
  instances = 0;
  /** When the last get came. */
  askedMs = -Infinity;
  /** Events of its own, as those of the whole pool. */
  readonly counters = {
    spawnsDone: 0,
    spawnsFailed: 0,
    deaths: 0,
    restarts: 0,
    restartsRefused: 0,
  };
  /** What a spawn that no get is for needs: as it was registered, or as the last get said. */
  options: AppRequest | undefined;
  /** Its instances in the pool that are to be replaced. */
  worn = 0;
  /** The spawn under way for one of them. */
  replacement: Spawn | undefined;
  /** Such spawns under way, those included that a restart or clear has made useless. */
  replacing = 0;
  rollout: Rollout | undefined;
  /** In the pool's queue of looks for instances that were idle too long, while one may be. */
  readonly reap = new HeapEntry<ApplicationRecord>(this);

  constructor(root: ByteString) {
    this.root = root;
  }

  /** So many are wanted without anybody asking. */
  get minInstances(): number {
    return this.settings.minInstances ?? 0;
  }

  /** Whether more of it may be begun: not while its new code is tried, or was refused. */
  get isOpen(): boolean {
    return this.rollout === undefined || this.rollout === "proven" || this.count === 0;
  }

  get count(): number {
    return this.available.size + this.full.size;
  }

  /** Its spawns that will join the pool. */
  get coming(): number {
    return this.planned.size + this.begun.size;
  }

  get spawning(): number {
    return this.planned.size + this.begun.size + this.outdated.size;
  }

  get places(): number {
    return this.count + this.spawning;
  }

  /** What of `places` counts for max. */
  get placed(): number {
    return this.places - this.unplaced;
  }

  /** Its part of the pool, beside those of others. */
  get weight(): number {
    return this.settings.weight ?? 1;
  }

  /** Places that will be free in a moment, or will not: gets are held back for them. */
  get awaited(): number {
    return this.recalling + this.promised;
  }

  /** Gets that one new instance is thought to serve. */
  get getsPerSpawn(): number {
    return this.lastConcurrency ?? this.expectedConcurrency;
  }
}

/**
 * pooled: counted, given to gets. leaving: finishes its sessions out of the pool. dead: likewise,
 * but nothing can be finished. retired: the driver has been told to let it go; forgotten here.
 */
export type Standing = "new" | "pooled" | "leaving" | "dead" | "retired";

/** What a spawn has made. */
export interface NewInstance {
  readonly pid: number;
  /** Sessions it serves at once. */
  readonly concurrency: number;
  /** Whether it says when it is done with a session: `sessionsDone` is due for each. */
  readonly reportsDone: boolean;
}

export class InstanceRecord {
  readonly id: InstanceId;
  readonly pid: number;
  /** Sessions it serves at once. */
  readonly concurrency: number;
  readonly application: ApplicationRecord;
  /** Whether it says when it is done with a session; else its client's `close` alone says so. */
  readonly reportsDone: boolean;
  readonly readyMs: number;
  /** When a session began or ended last. */
  lastUsedMs: number;
  /** Written by state.ts alone, as are the counts up to `promised` and the links. */
  standing: Standing = "new";
  /** Sessions that clients have open. */
  open = 0;
  /** Sessions that it is not done with; 0 if it does not say. */
  undone = 0;
  /** Open ones that last, as after an upgrade: they take no place. */
  long = 0;
  /** Sessions that it has said to be done with. */
  done = 0;
  /** Its part of its application's `promised`. */
  promised = 0;
  /** When a session was closed last that it may not be done with. */
  closedMs = 0;
  /** Its kept sessions, since the first of them; kept.ts alone writes it. */
  keeping: Keeping | undefined = undefined;
  /** Sessions of it that were given up, since the first of them; overdue.ts alone writes it. */
  overdue: Overdue | undefined = undefined;
  /** Sessions that have ended. */
  served = 0;
  /** When a session of it was closed last whose request was over. */
  answeredMs = -Infinity;
  /** When it was given last to a client without a preference, as a number that grows. */
  chosenAt = 0;
  /** Requests that clients have told of. */
  requests = 0;
  /** Why it is to be replaced; worn.ts decides, state.ts writes it. */
  worn: WornReason | undefined;
  /** When it will be as old as it may be, if there is a limit. */
  age: HeapEntry<InstanceRecord> | undefined;
  /** When the first of them ended. */
  firstServedMs = Number.POSITIVE_INFINITY;
  /** What its application had failed before it was ready. */
  readonly failuresBefore: FailureRecord;
  /** Its process is being ended because a request took too long. */
  isGivenUp = false;
  /** Why it left the pool. */
  reason: RetireReason = "idle";
  /** Its place in `available`, `full` or `outside` of its application. */
  readonly order: Link<InstanceRecord> = new Link<InstanceRecord>(this);
  /** Its place among those of its application that are idle. */
  readonly idleHere: Link<InstanceRecord> = new Link<InstanceRecord>(this);
  /** Its place among all that are idle. */
  readonly idle: Link<InstanceRecord> = new Link<InstanceRecord>(this);
  /** Its place among those that are about to be done with a closed session. */
  readonly closingSoon: Link<InstanceRecord> = new Link<InstanceRecord>(this);

  constructor(id: InstanceId, ready: NewInstance, application: ApplicationRecord, now: number) {
    this.id = id;
    this.pid = ready.pid;
    this.concurrency = ready.concurrency;
    this.reportsDone = ready.reportsDone;
    this.application = application;
    this.readyMs = now;
    this.lastUsedMs = now;
    this.failuresBefore = application.failures.record;
  }

  /**
   * Sessions that keep it from being idle. Which ones it is done with it does not say, only how
   * many: so at least these are open, or not done with.
   */
  get sessions(): number {
    return this.open > this.undone ? this.open : this.undone;
  }

  /** Places taken of its concurrency. */
  get load(): number {
    return this.sessions - this.long;
  }

  /** Closed sessions that it is certainly not done with. */
  get closing(): number {
    return this.undone > this.open ? this.undone - this.open : 0;
  }
}

export class Spawn {
  readonly application: ApplicationRecord;
  /** Of the get it was planned for. */
  readonly options: AppRequest;
  /** Undefined while planned. */
  id: SpawnId | undefined;
  /** When it was planned or began. */
  sinceMs: number;
  /** Gets with a smaller id had arrived when it began. */
  beganAt = 0;
  /** Whether it has a place; one that takes long may have lost it. */
  isPlaced = true;
  /** Counts all spawns in the order of planning. */
  readonly number: number;
  /** Only gets with a smaller id may have its instance. */
  servesBefore = Number.POSITIVE_INFINITY;
  /** Its place among the planned ones of all, then those that hold a slot, then the slow ones. */
  readonly turn: Link<Spawn> = new Link<Spawn>(this);
  /** Its place in `planned`, `begun` or `outdated` of its application. */
  readonly order: Link<Spawn> = new Link<Spawn>(this);

  constructor(application: ApplicationRecord, options: AppRequest, number: number, now: number) {
    this.application = application;
    this.options = options;
    this.number = number;
    this.sinceMs = now;
  }
}

/** A get: waiting in its application's line, or held by its session in case the connect fails. */
export class Waiter implements InLine<Waiter> {
  readonly id: WaiterId;
  readonly application: ApplicationRecord;
  readonly options: AppRequest;
  readonly kept: boolean;
  /** Whether it is not any instance that will do. */
  readonly isChoosy: boolean;
  readonly arrivedMs: number;
  failedConnects = 0;
  /** Instances whose backlog was full. */
  tried: Set<InstanceId> | undefined;
  deadline: HeapEntry<Waiter> | undefined;
  previous: Waiter | undefined;
  next: Waiter | undefined;
  covered = false;

  constructor(id: WaiterId, application: ApplicationRecord, request: GetRequest, now: number) {
    this.id = id;
    this.application = application;
    this.options = request.options;
    this.kept = request.kept;
    this.isChoosy = request.preference !== undefined;
    this.arrivedMs = now;
  }
}

export class SessionRecord {
  readonly id: SessionId;
  readonly waiter: Waiter;
  instance: InstanceRecord;
  readonly openedMs: number;
  /** If its client may keep it. */
  kept: Kept | undefined = undefined;
  /** It lasts, as after an upgrade, and takes no place. */
  isLong = false;
  /** When it has been open for too long, if there is a limit. */
  limit: HeapEntry<SessionRecord> | undefined = undefined;

  constructor(id: SessionId, waiter: Waiter, instance: InstanceRecord, now: number) {
    this.id = id;
    this.waiter = waiter;
    this.instance = instance;
    this.openedMs = now;
  }
}
