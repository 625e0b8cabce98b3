/**
 * SessionLine: the sessions of one connection with one application, and the requests that wait for
 * one; where they are to go on with an instance each had, with that instance. Rules:
 * - A request takes the idle session that was used last; else it waits, first come, first served,
 *   for whichever comes first: a session that becomes free, or one from the pool.
 * - While the line has sessions, few gets wait in the pool at a time: those who wait here are
 *   mostly served by the sessions at hand, at no cost to the pool. That is fair to others all the
 *   same, because the pool recalls sessions for everybody who waits there.
 * - A recall says that instances are short. One get that waits has the pool ask for all sessions
 *   that are busy, each of which is closed after its request. For a moment after it gets are sent
 *   only in place of those: more would cost us what they get us, over and over. The moment becomes
 *   longer each time that we have as many sessions as the time before.
 * - An idle session is given back after a short time, or when it is recalled. A busy one that is
 *   recalled is closed after its request.
 * - Who takes only a session that no other request has been on always has a get, and is served by
 *   it before others.
 * - A get that nobody waits for any more is withdrawn at the next tick, not at once: under load the
 *   next request wants it.
 * - No session serves a further request when restart.txt has appeared: what comes after the touch
 *   is answered by the new version. We may not be allowed to see that file, so the pool is asked
 *   once a second at least, however many sessions are kept.
 */

import { IdTable } from "../wire/id-table.ts";
import type { Application } from "./application.ts";
import { BusyError } from "./errors.ts";
import { type Guardian, Orphans } from "./orphans.ts";
import type { PendingGet } from "./pending-gets.ts";
import { type EndReason, getOf } from "./refusals.ts";
import { RestartFile } from "./restart-file.ts";
import type { Session } from "./session.ts";
import { keptMs, SessionStream, type StreamKeeper } from "./session-stream.ts";

/** Idle sessions of one application; each is a descriptor here and in the instance. */
const maxIdle = 500;
/** Gets that wait in the pool while the line has no session. */
const maxGets = 100;
/**
 * And while it has some: one, since each takes a session away from us or others, and one more with
 * every tick, so that many instances can be started side by side where there is room.
 */
const getsBesides = 1;
const maxGetsBesides = 4;
/** For how long instances are taken to be short after a recall, at first: a few ticks. */
const shortMs = 100;
/** And at most: with a tick or two it is less than `askEveryMs`. */
const maxShortMs = 800;
/** As long as the shortest, in ticks. */
const shortTicks = 4;

/** How often the pool is told how many requests were sent. */
const tellEveryMs = 1_000;
/** How old the pool's last word on an application may be. */
const askEveryMs = 1_000;

export interface SessionWaiter {
  /** Whether it takes only a session that no other request has been on. */
  readonly needsFresh: boolean;
  /** How many of the application may wait; if they do, it is busy. 0: any number. */
  readonly maxWaiting: number;
  /** Whether it fails, as busy, where it takes the place of one that may not wait beside it. */
  readonly givesWay?: boolean;
  /**
   * What leads to the instance that it would go on with, the key of one or else a name for the
   * visitor; empty: it has none yet; undefined: any will do.
   */
  readonly token?: string | undefined;
  /** @param nowMs by performance.now(). */
  serve(stream: SessionStream, nowMs: number): void;
  fail(error: unknown): void;
}

export interface LineHost {
  /** Who has what is left when the connection ends; undefined: nobody. */
  readonly guardian?: Guardian | undefined;
  readonly command: PendingGet["command"];
  /** Whether no restart.txt holds for all of a turn of the event loop. */
  readonly sharesLooks: boolean;
  /** Requests that wait in all lines; the lines count. */
  waiting: number;
  readonly ask: (get: PendingGet) => void;
  readonly withdraw: (get: PendingGet) => void;
  /** There is something for a tick to do. */
  tickOn(): void;
  opened(stream: SessionStream, line: SessionLine): void;
  closed(stream: SessionStream): void;
}

export class SessionLine implements StreamKeeper {
  readonly #host: LineHost;
  readonly #token: string | undefined;
  #application: Application;
  /** Longest idle first. */
  readonly #idle: SessionStream[] = [];
  /** First come first. No Set, nor are the gets: wire/id-table.ts says why. */
  readonly #waiting: SessionWaiter[] = [];
  /** How many of them only a get can help. */
  #needingFresh = 0;
  readonly #gets: PendingGet[] = [];
  /** Sessions, idle or not. */
  readonly #open = new IdTable<number, SessionStream>();
  readonly #restart: RestartFile;
  /** When a get was sent last, by performance.now(). */
  #askedMs = 0;
  /** When the pool was told last how many requests its sessions have served. */
  #toldMs = 0;
  /** When the pool asked for a session back last, by performance.now(). */
  #recalledMs = -Infinity;
  /** For how long instances are taken to be short after that, and how many sessions we had then. */
  #shortMs = shortMs;
  #openThen = 0;
  /** Sessions that were closed because of recalls, while requests waited, and not made up for. */
  #owed = 0;
  /** Ticks in a row at which instances were short and a get waited. */
  #stuckTicks = 0;
  /** Once the connection has ended: the error for whoever asks. */
  #ended: EndReason | undefined;

  /** @param token of all whom it serves; undefined: any instance will do. */
  constructor(application: Application, host: LineHost, token?: string) {
    this.#application = application;
    this.#host = host;
    this.#token = token;
    this.#restart = new RestartFile(application.root, () => host.sharesLooks);
  }

  get isEmpty(): boolean {
    return this.#open.size === 0 && this.#waiting.length === 0 && this.#gets.length === 0;
  }

  /** Whether a tick would find something to do, now or later. */
  get needsTicks(): boolean {
    return this.#open.size > 0 || this.#gets.length !== this.#waiting.length;
  }

  /** Serves the waiter, at once or when there is a session. */
  take(application: Application, waiter: SessionWaiter): void {
    this.#application = application;
    if (this.#idle.length > 0) this.#heedRestart();
    const stream = waiter.needsFresh ? undefined : this.#idle.pop();
    if (stream !== undefined) {
      const nowMs = performance.now();
      if (nowMs - this.#askedMs < askEveryMs) return waiter.serve(stream, nowMs);
      // Given back first: its instance is then free for the get that follows.
      stream.close();
    }
    if (this.#ended !== undefined) return waiter.fail(this.#ended(getOf(application)));
    const { maxWaiting } = waiter;
    // For what is owed the pool has an instance as a rule: it is free, or will be in a moment.
    if (maxWaiting > 0 && this.#waiting.length - this.#owed >= maxWaiting) {
      const busy = new BusyError(`${getOf(application)}: ${maxWaiting} requests wait already`);
      const other = this.#waiting.find(({ givesWay }) => givesWay);
      if (other === undefined) return waiter.fail(busy);
      this.leave(other);
      other.fail(busy);
    }
    this.#waiting.push(waiter);
    if (waiter.needsFresh) this.#needingFresh += 1;
    this.#host.waiting += 1;
    this.#ask();
  }

  leave(waiter: SessionWaiter): void {
    if (!takeOut(this.#waiting, waiter)) return;
    if (waiter.needsFresh) this.#needingFresh -= 1;
    this.#host.waiting -= 1;
  }

  /** For its streams, as is `closed`. */
  freed(stream: SessionStream): void {
    // Closed while it was being opened: who waits has another get on its way.
    if (!stream.isOpen) return;
    const isReused = stream.served > 0 && this.#waiting.length > 0;
    if (isReused && this.#heedRestart()) return stream.close();
    const waiter = this.#nextFor(stream);
    const nowMs = performance.now();
    if (waiter !== undefined) return waiter.serve(stream, nowMs);
    const isFull = this.#idle.length >= maxIdle;
    if (this.#ended !== undefined || !stream.isKept || isFull) return stream.close();
    stream.idleSinceMs = nowMs;
    this.#idle.push(stream);
    this.#host.tickOn();
  }

  closed(stream: SessionStream): void {
    this.#open.delete(stream.id);
    takeOut(this.#idle, stream);
    this.#host.closed(stream);
    if (!stream.isRecalled) this.#shortMs = shortMs;
    else if (this.#waiting.length > 0) this.#owed += 1;
    this.#ask();
  }

  /** The pool wants the session back. @returns whether a request is under way on it. */
  recall(stream: SessionStream): boolean {
    stream.isRecalled = true;
    if (!this.#isShort) this.#becomeShort();
    this.#recalledMs = performance.now();
    // Many were sent before there was a session: each that stays takes one away from us again.
    if (this.#gets.length > maxGetsBesides) setImmediate(() => this.#withdraw(getsBesides));
    if (!this.#idle.includes(stream)) return true;
    stream.close();
    return false;
  }

  get sessions(): number {
    return this.#open.size;
  }

  /** Who has waited longest of those who take a session that has served others; waits no more. */
  next(): SessionWaiter | undefined {
    const waiter = this.#waiting.find(({ needsFresh }) => !needsFresh);
    if (waiter !== undefined) this.leave(waiter);
    return waiter;
  }

  /** Sessions without a request. */
  get idle(): readonly SessionStream[] {
    return this.#idle;
  }

  /** Gives back what has been idle long enough, and withdraws gets that nobody waits for. */
  tick(nowMs: number): void {
    for (const stream of this.#idle.slice()) {
      if (nowMs - stream.idleSinceMs >= keptMs) stream.close();
    }
    if (nowMs - this.#toldMs >= tellEveryMs) {
      this.#toldMs = nowMs;
      for (const stream of this.#open.values()) stream.tell();
    }
    const isStuck =
      nowMs - this.#recalledMs < shortMs && this.#open.size > 0 && this.#gets.length > 0;
    this.#stuckTicks = isStuck ? this.#stuckTicks + 1 : 0;
    // Others have our places now: as long as a get of ours waits, no session lasts.
    const most = this.#stuckTicks > shortTicks ? this.#gets.length - 1 : this.#waiting.length;
    this.#withdraw(Math.max(most, this.#needingFresh));
    this.#ask(this.#isShort ? 0 : Math.min(this.#gets.length + 1, maxGetsBesides));
  }

  /** The connection has ended: requests under way go on, all else ends. */
  end(why: EndReason): void {
    this.#ended = why;
    this.#gets.length = 0;
    this.#orphan();
    for (const stream of this.#idle.slice()) stream.close();
    for (const waiter of this.#waiting.slice()) {
      this.leave(waiter);
      waiter.fail(why(getOf(this.#application)));
    }
  }

  /** Leaves the sessions that are kept to whoever asks the next server. */
  #orphan(): void {
    const { guardian } = this.#host;
    const kept = [...this.#open.values()].filter(({ isKept }) => isKept);
    if (guardian === undefined || this.#token !== undefined || kept.length === 0) return;
    const idle = this.#idle.splice(0);
    for (const stream of kept) {
      this.#open.delete(stream.id);
      this.#host.closed(stream);
    }
    const { root } = this.#application;
    guardian.adopt(new Orphans(root, guardian, this.#restart, kept, idle));
  }

  /** Gives all sessions back if the application is to be restarted. @returns whether it is. */
  #heedRestart(): boolean {
    if (!this.#restart.hasCome()) return false;
    for (const stream of this.#open.values()) stream.isRecalled = true;
    for (const stream of this.#idle.slice()) stream.close();
    return true;
  }

  /**
   * Asks the pool for as many sessions as are waited for, within bounds.
   * @param besides how many gets may wait while there are sessions.
   */
  #ask(besides = this.#isShort ? 0 : getsBesides): void {
    if (this.#ended !== undefined) return;
    if (this.#waiting.length === 0) this.#owed = 0;
    const wanted = Math.min(this.#waiting.length, this.#mostGets(besides));
    while (this.#gets.length < wanted) {
      const get: PendingGet = {
        application: this.#application,
        command: this.#host.command,
        token: this.#host.command === "getKept" ? this.#token : undefined,
        resolve: (session) => void this.#granted(get, session),
        reject: (error) => {
          takeOut(this.#gets, get);
          this.#failNext(error);
        },
        id: 0,
        bytes: 0,
      };
      this.#gets.push(get);
      this.#askedMs = performance.now();
      this.#host.ask(get);
    }
  }

  /** @param most how many gets may go on waiting. */
  #withdraw(most: number): void {
    for (const get of this.#gets.splice(0, Math.max(0, this.#gets.length - most))) {
      this.#host.withdraw(get);
      this.#owed = 0;
    }
  }

  #mostGets(besides: number): number {
    if (this.#host.command !== "getKept") return maxGets;
    if (this.#open.size > 0) {
      return Math.max(besides, this.#owed, Math.min(this.#needingFresh, maxGets));
    }
    // The last one has been recalled: others want it, and it will be back.
    return this.#isShort ? Math.max(1, besides) : maxGets;
  }

  get #isShort(): boolean {
    return performance.now() - this.#recalledMs < this.#shortMs;
  }

  #becomeShort(): void {
    const isAsBefore = this.#open.size === this.#openThen;
    this.#shortMs = isAsBefore ? Math.min(2 * this.#shortMs, maxShortMs) : shortMs;
    this.#openThen = this.#open.size;
  }

  async #granted(get: PendingGet, session: Session): Promise<void> {
    takeOut(this.#gets, get);
    this.#owed = Math.max(0, this.#owed - 1);
    const isKept = this.#host.command === "getKept";
    const stream = new SessionStream(session, this, isKept, this.#application.maxUntold);
    // The next visitor without an instance is given another one.
    if (this.#token === "") stream.isRecalled = true;
    this.#open.add(stream);
    if (this.#open.size > this.#openThen) this.#shortMs = shortMs;
    this.#host.opened(stream, this);
    try {
      await stream.open();
    } catch (error) {
      return this.#failNext(error);
    }
    stream.offer();
    this.#ask();
  }

  /** A get was in vain: so is the wait of whoever waits longest. */
  #failNext(error: unknown): void {
    const [waiter] = this.#waiting;
    if (waiter !== undefined) {
      this.leave(waiter);
      waiter.fail(error);
    }
    this.#ask();
  }

  #nextFor(stream: SessionStream): SessionWaiter | undefined {
    if (stream.served > 0) return this.next();
    const waiter = this.#waiting.find(({ needsFresh }) => needsFresh) ?? this.#waiting[0];
    if (waiter !== undefined) this.leave(waiter);
    return waiter;
  }
}

/** @returns whether it was there. */
function takeOut<T>(all: T[], one: T): boolean {
  const at = all.indexOf(one);
  if (at >= 0) all.splice(at, 1);
  return at >= 0;
}
