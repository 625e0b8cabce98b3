/**
 * PoolLink: a worker's way to the pool server, by one connection. Rules:
 * - It connects with the first request or question. How instances are started is nothing a worker
 *   has a say in: the supervisor has registered each application, and a worker names it.
 * - When the connection ends (the server has died and is started anew on the same wake socket), the
 *   next request connects again. Requests that had no instance yet go to the new server; bytes on
 *   the wake socket that the old one did not read are read by the new one.
 * - Nobody starts another server once the wake socket has ended: the supervisor is gone, or has
 *   become another program. Then requests fail at once.
 * - Of an application that is paused requests are held here until it goes on, or refused.
 * - All who need a connection share the tries to make one, and each waits until its own deadline:
 *   what a request waits here is part of what it may wait for an instance.
 */
import { inTime } from "../../native/in-time.ts";
import {
  Application,
  BusyError,
  GoneForGoodError,
  type PoolAccess,
  type PoolConnection,
  ServerGoneError,
} from "../../parent/index.ts";
import type { Guardian, Orphans } from "../../parent/orphans.ts";
import type { SessionWaiter } from "../../parent/session-line.ts";
import { causeText } from "../../wire/cause.ts";
import type { AppConfig } from "../config.ts";
import type { IdleSessions } from "../control-channel.ts";
import { paused, RefusedError } from "../policy/failures.ts";

/** One try; a wake byte that a dying server has read is never answered. */
const connectLimitMs = 500;
/** Between two tries that fail at once, as where no descriptor is free. */
const pauseMs = 20;
/** How long requests wait for a connection when they may wait for an instance without limit. */
export const defaultWaitMs = 10_000;

/** How requests are treated, by the application's name; others go on. */
export type Pauses = ReadonlyMap<string, "wait" | "refuse">;

/** A request of an application that is paused. */
interface HeldRequest {
  readonly app: AppConfig;
  readonly waitMs: number;
}

export class PoolLink implements Guardian {
  readonly #access: PoolAccess;
  readonly #configs: readonly AppConfig[];
  /** By the application's name. */
  readonly #apps: ReadonlyMap<string, Application>;
  #connection: PoolConnection | undefined;
  /** The tries under way, for as long as anybody waits for them. */
  #connecting: Promise<PoolConnection> | undefined;
  #waiting = 0;
  #pauses: Pauses = new Map();
  /** What servers that have gone have left. */
  readonly #orphans = new Set<Orphans>();
  /** Requests of applications that are paused. */
  readonly #held = new Map<SessionWaiter, HeldRequest>();
  /** Requests that wait for a connection. */
  readonly #waiters = new Map<SessionWaiter, AppConfig>();
  /** Why the last try failed. */
  #cause: unknown;
  #isClosed = false;

  /** @param access the wake socket; it stays the caller's. */
  constructor(access: PoolAccess, apps: readonly AppConfig[]) {
    this.#access = access;
    this.#configs = apps;
    this.#apps = new Map(apps.map((app) => [app.name, applicationFrom(app)]));
  }

  /**
   * The connection, for questions about the pool. @throws BusyError when there is none in time,
   * ServerGoneError once this link is closed (as rejections).
   */
  async connection(waitMs = defaultWaitMs): Promise<PoolConnection> {
    if (this.#open !== undefined) return this.#open;
    this.#waiting += 1;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    try {
      return await inTime(this.#connecting, waitMs, () => {
        const cause = this.#cause;
        const why = cause === undefined ? `no answer within ${waitMs} ms` : causeText(cause);
        throw new BusyError(`connect to the pool server: ${why}`, { cause });
      });
    } finally {
      this.#waiting -= 1;
    }
  }

  /**
   * Serves the waiter as soon as there is a session with the application; it fails with what
   * `connection` throws, or with the errors of a get: with ServerGoneError where it waited in a
   * pool server that has gone, so no instance has seen it. @param waitMs for a connection.
   */
  take(app: AppConfig, waiter: SessionWaiter, waitMs = defaultWaitMs): void {
    const pause = this.#pauses.size === 0 ? undefined : this.#pauses.get(app.name);
    if (pause !== undefined) return this.#hold(app, waiter, waitMs, pause);
    if (this.#orphans.size > 0 && this.#lend(app, waiter)) return;
    const sessions = this.#open?.sessions;
    if (sessions !== undefined) return sessions.take(this.#applicationOf(app), waiter);
    this.#waiters.set(waiter, app);
    void this.#takeLater(app, waiter, waitMs);
  }

  /** The waiter waits no more. */
  leave(app: AppConfig, waiter: SessionWaiter): void {
    if (this.#waiters.delete(waiter) || this.#held.delete(waiter)) return;
    this.#open?.sessions?.leave(this.#applicationOf(app), waiter);
  }

  /** For orphans. */
  adopt(orphans: Orphans): void {
    this.#orphans.add(orphans);
    const app = this.#configs.find(({ root }) => root === orphans.root);
    if (app !== undefined) this.#replace(app, orphans);
  }

  /** For orphans. */
  newSessions(root: string): number {
    return this.#isClosed ? Infinity : (this.#open?.sessions?.countOf(root) ?? 0);
  }

  /** For orphans. */
  next(root: string): SessionWaiter | undefined {
    for (const [waiter, app] of this.#waiters) {
      if (app.root !== root || waiter.needsFresh || waiter.token !== undefined) continue;
      this.#waiters.delete(waiter);
      return waiter;
    }
    return this.#open?.sessions?.next(root);
  }

  /** Sessions that are kept without a request, by the processes of their instances. */
  idleSessions(): IdleSessions {
    return [...(this.#open?.sessions?.idleByProcess() ?? [])];
  }

  /** Whether no session comes from here any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Ends the connection: what waits is rejected, what is under way goes on. */
  close(): void {
    this.#isClosed = true;
    this.#connection?.close();
  }

  /** Which applications are paused from now on. What waits for one that is not any more goes on. */
  pause(pauses: Pauses): void {
    this.#pauses = pauses;
    const held = [...this.#held];
    this.#held.clear();
    for (const [waiter, { app, waitMs }] of held) this.take(app, waiter, waitMs);
  }

  /** The application is to be restarted: its orphans end. */
  restart(name: string): void {
    const root = this.#apps.get(name)?.root;
    for (const orphans of this.#orphans) if (orphans.root === root) orphans.end();
  }

  /** @returns whether the session of an orphan serves it. */
  #lend({ root }: AppConfig, waiter: SessionWaiter): boolean {
    for (const orphans of this.#orphans) {
      if (orphans.isEmpty) this.#orphans.delete(orphans);
      else if (orphans.root === root && orphans.lend(waiter)) return true;
    }
    return false;
  }

  /**
   * Asks the next server for sessions, one after the other, for whoever comes next: nobody else
   * would, as long as orphans serve all. Where a request would be refused, for that many wait, it
   * does so itself.
   */
  #replace(app: AppConfig, orphans: Orphans): void {
    const next = (): void => {
      if (orphans.isWanted) this.take(app, scout);
    };
    const scout: SessionWaiter = {
      needsFresh: true,
      maxWaiting: 0,
      givesWay: true,
      serve: (stream) => {
        stream.offer();
        orphans.giveWay();
        next();
      },
      fail: (error) => {
        if (error instanceof ServerGoneError) setImmediate(next);
      },
    };
    next();
  }

  /** As many wait as may wait for a process; and the request's own time goes on. */
  #hold(app: AppConfig, waiter: SessionWaiter, waitMs: number, how: "wait" | "refuse"): void {
    const { maxWaiting, givesWay } = waiter;
    if (how === "refuse" || givesWay === true) {
      return waiter.fail(new RefusedError(paused, `get '${app.name}': it is paused`));
    }
    if (maxWaiting > 0 && this.#heldOf(app) >= maxWaiting) {
      return waiter.fail(new BusyError(`get '${app.name}': ${maxWaiting} requests wait already`));
    }
    this.#held.set(waiter, { app, waitMs });
  }

  #heldOf({ name }: AppConfig): number {
    let count = 0;
    for (const { app } of this.#held.values()) if (app.name === name) count += 1;
    return count;
  }

  async #takeLater(app: AppConfig, waiter: SessionWaiter, waitMs: number): Promise<void> {
    try {
      const { sessions } = await this.connection(waitMs);
      if (!this.#waiters.delete(waiter)) return;
      // It has ended already: as if it had while the waiter waited.
      if (sessions === undefined) return this.take(app, waiter, waitMs);
      sessions.take(this.#applicationOf(app), waiter);
    } catch (error) {
      if (this.#waiters.delete(waiter)) waiter.fail(error);
    }
  }

  #applicationOf({ name }: AppConfig): Application {
    const application = this.#apps.get(name);
    if (application === undefined) throw new Error(`application ${name}: it is not configured`);
    return application;
  }

  get #open(): PoolConnection | undefined {
    return this.#connection?.isOpen === true ? this.#connection : undefined;
  }

  /** Tries until there is a connection, or nobody waits for one any more. */
  async #connect(): Promise<PoolConnection> {
    this.#cause = undefined;
    for (;;) {
      if (this.#isClosed) throw new ServerGoneError("connect to the pool server: closed here");
      try {
        const connection = await this.#access.connect({ limitMs: connectLimitMs });
        if (this.#isClosed) {
          connection.close();
          continue;
        }
        // What the first request would have to ask, and wait for without a limit of its own.
        await connection.prepare(connectLimitMs);
        if (connection.sessions !== undefined) {
          connection.sessions.sharesLooks = true;
          connection.sessions.guardian = this;
        }
        this.#connection = connection;
        return connection;
      } catch (error) {
        this.#cause = error;
        if (error instanceof GoneForGoodError) this.close();
        if (this.#waiting === 0 || this.#isClosed) throw error;
      }
      await Bun.sleep(pauseMs);
    }
  }
}

/** Of 20 sessions at a time, a tenth of `max_requests` at most is not told. */
function applicationFrom({ root, options: { maxRequests = 0 } }: AppConfig): Application {
  if (maxRequests === 0) return new Application(root);
  return new Application({ root, maxUntold: Math.floor(maxRequests / 200) });
}
