/**
 * The driver performs what the pool decides: it spawns, connects, lets go, and tells the pool what
 * came of it. It is the only caller of the pool and the only place where its effects meet the
 * world. It decides nothing about who gets what.
 */
import type { OwnedFd } from "../native/owned-fd.ts";
import { Pool } from "../pool/pool.ts";
import type {
  Effect,
  InstanceId,
  PoolLimits,
  GetRefusal,
  SessionId,
  SpawnId,
  WaiterId,
} from "../pool/types.ts";
import { SpawnFailedError, type Instance, type Spawner } from "../spawn/spawner.ts";
import type { AppRequest } from "../wire/app-request.ts";
import { ascii, escapeForLog, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import type { InstanceOptions } from "../wire/configure.ts";
import { Alarm } from "./alarm.ts";
import { type ClientGet, notRegistered } from "./client-get.ts";
import { ConfiguredApplications, makingOf, poolSettings } from "./configured-applications.ts";
import { Connector } from "./connector.ts";
import { Instances } from "./instances.ts";
import type { Log } from "../logging/log.ts";
import { RestartLooks } from "./restart-looks.ts";
import { Stickiness } from "./stickiness.ts";

interface DriverOptions {
  readonly spawner: Spawner;
  readonly pool: Pool;
  readonly log: Log;
  readonly spawnTimeoutMs: number;
}

export class Driver {
  /** What is known of each application; `configure` and `unregister` change it. */
  readonly applications = new ConfiguredApplications();
  readonly #spawner: Spawner;
  readonly #pool: Pool;
  readonly #log: Log;
  readonly #spawnTimeoutMs: number;
  readonly #restarts: RestartLooks;
  readonly #connector: Connector;
  readonly #instances: Instances;
  /** Spawns under way, of which applications; aborted when nobody has a use for one any more. */
  readonly #spawns = new Map<SpawnId, { root: ByteString; ending: AbortController }>();
  /** The get at hand. Most are answered at once, and then never enter the map of the others. */
  #atHand: ClientGet | undefined;
  readonly #waiting = new Map<WaiterId, ClientGet>();
  /** Gets by their sessions that may be kept, until these end. */
  readonly #kept = new Map<SessionId, ClientGet>();
  readonly #sticky = new Stickiness();
  /** Effects of what performing others led to. */
  readonly #later: Effect[] = [];
  #performing = false;
  readonly #alarm: Alarm;
  #closed = false;

  constructor(options: DriverOptions) {
    this.#spawner = options.spawner;
    this.#pool = options.pool;
    this.#log = options.log;
    this.#spawnTimeoutMs = options.spawnTimeoutMs;
    this.#spawner.setMax(this.#pool.limits.max);
    this.#alarm = new Alarm(() => this.decide((pool, now) => pool.tick(now)));
    this.#instances = new Instances({
      log: options.log,
      memoryOf: (root) => (this.keepsSessions && this.applications.of(root)?.options) || {},
      done: (id, sessions) =>
        this.#perform(this.#pool.sessionsDone(id, sessions, performance.now())),
      died: (id, why) => this.decide((pool, now) => pool.instanceDied(id, now, why)),
      grown: (id, isHard) => this.decide((pool, now) => pool.instanceGrown(id, isHard, now)),
    });
    this.#restarts = new RestartLooks(options.log, this.#serve.bind(this), options.spawner.aside);
    this.#connector = new Connector({
      instance: (id) => this.#instances.get(id),
      alternative: (session) => this.#alternative(session),
      connected: this.#connected.bind(this),
      failed: (get, session, pid, cause) => this.#connectFailed(get, session, pid, cause),
      gaveUp: (get, session, cause) => this.#gaveUpConnecting(get, session, cause),
    });
  }

  get spawnServerPid(): number {
    return this.#spawner.pid;
  }

  /** Whether instances are of a kind that can keep sessions: those of the built-in spawner. */
  get keepsSessions(): boolean {
    return this.#spawner.pid === process.pid;
  }

  /** A client was read: the gets in it may have been sent after the last look at their files. */
  readonly clientRead = () => this.#restarts.clientRead();

  /** Asks for a session. Most are answered when this returns; others may be cancelled. */
  get(get: ClientGet): void {
    const now = performance.now();
    // Also before the first instance: else that would be restarted, or made of old code.
    const looks = this.keepsSessions || this.#pool.hasInstances(get.app.root, now);
    return looks ? this.#restarts.arrive(get, now) : void this.#serve(get, false, now);
  }

  /** @returns false: it has been withdrawn. */
  #serve(get: ClientGet, restart: boolean, now = performance.now()): boolean {
    if (get.answered || this.#closed) return false;
    const { app, kept } = get;
    const expected = this.applications.expected(app, this.#spawner);
    const preference = this.#sticky.preferenceOf(get);
    const request = { root: app.root, options: app, restart, kept, ...expected, preference };
    const { waiter, effects } = this.#pool.get(request, now);
    get.waiter = waiter;
    const outer = this.#atHand;
    this.#atHand = get;
    this.#perform(effects);
    this.#atHand = outer;
    if (!get.answered) this.#waiting.set(waiter, get);
    return true;
  }

  /** Withdraws a get; an answered one is left alone. */
  cancel(pending: ClientGet): void {
    if (pending.answered || this.#closed) return;
    pending.answered = true;
    const { waiter, waitingSession } = pending;
    if (waiter !== undefined) this.#waiting.delete(waiter);
    if (waitingSession !== undefined) this.#dropSession(waitingSession);
    else if (waiter !== undefined) this.#perform(this.#pool.cancel(waiter, performance.now()));
  }

  /** The client of a session is through with it, or gone. */
  closeSession(session: SessionId): void {
    if (this.#closed) return;
    this.#prepareEnd(session);
    this.#perform(this.#pool.sessionClosed(session, performance.now()));
  }

  /** Its client closes it before the request (`what`) is over; with no time left if `isLate`. */
  abandonSession(session: SessionId, what: ByteString, isLate: boolean): void {
    if (this.#closed) return;
    this.#prepareEnd(session);
    const shown = escapeForLog(what);
    this.#perform(this.#pool.sessionAbandoned(session, shown, isLate, performance.now()));
  }

  /** If the client saw the end of the stream, the instance has said before that it is done. */
  #prepareEnd(session: SessionId): void {
    this.#kept.delete(session);
    const reporter = this.#pool.reporterOf(session);
    if (reporter !== undefined) this.#instances.get(reporter)?.reports?.hear();
  }

  /** A session is over before it was connected. */
  #dropSession(session: SessionId): void {
    if (this.#closed) return;
    this.#kept.delete(session);
    this.#perform(this.#pool.sessionUnused(session, performance.now()));
  }

  /** A request of the session takes long: its instance is to show what it is at, if it can. */
  showStack(session: SessionId): void {
    const reporter = this.#pool.reporterOf(session);
    if (reporter !== undefined) this.#instances.showStack(reporter, performance.now());
  }

  /** What the pool knows: asking is no event. */
  ask<T>(question: (pool: Pool, now: number) => T): T {
    return question(this.#pool, performance.now());
  }

  /** Has the pool decide on an event, and performs what follows. */
  decide(event: (pool: Pool, now: number) => readonly Effect[]): void {
    if (!this.#closed) this.#perform(event(this.#pool, performance.now()));
  }

  instanceOf(pid: number): InstanceId | undefined {
    return this.#instances.idOf(pid);
  }

  setLimits(limits: Partial<PoolLimits>): void {
    this.#log.event(2, "limits set", { ...limits });
    if (limits.max !== undefined) this.#spawner.setMax(limits.max);
    this.#perform(this.#pool.setLimits(limits, performance.now()));
  }

  /** Lets all instances go, or those of one application with what was kept to make more of. */
  clear(root?: ByteString): void {
    this.#log.event(1, "pool cleared", root === undefined ? {} : { app: escapeForLog(root) });
    this.#perform(this.#pool.clear(performance.now(), root));
    if (root !== undefined) this.#spawner.reload(root);
  }

  /**
   * Options for the instances spawned from now on. @param request registers the application: it
   * takes the place of what gets say. @throws OptionsError when there are too many.
   */
  configure(root: ByteString, options: InstanceOptions, request?: AppRequest): void {
    this.applications.set(root, options, request);
    const settings = poolSettings(options, this.keepsSessions);
    this.#perform(this.#pool.configure(root, settings, performance.now(), request));
    this.#instances.watchMemory();
  }

  /** Registers an application. If its instances are made otherwise now, it restarts. */
  register(app: AppRequest, options: InstanceOptions): void {
    const before = this.applications.of(app.root);
    this.configure(app.root, options, app);
    this.#spawner.expect(app, options);
    const after = this.applications.of(app.root);
    if (before === undefined || makingOf(before) === makingOf(after)) return;
    this.decide((pool, now) => pool.restart(app.root, now));
  }

  /** The application may be named no more: its gets are refused, then its instances go. */
  unregister(root: ByteString): void {
    if (this.applications.of(root) === undefined) return;
    for (const get of [...this.#waiting.values(), ...this.#restarts.waiting(root)]) {
      if (get.answered || get.app.root !== root) continue;
      this.cancel(get);
      get.client.refused(get, notRegistered);
    }
    this.configure(root, {});
    this.clear(root);
    for (const { root: other, ending } of this.#spawns.values()) {
      if (other === root) ending.abort("its application has been removed");
    }
    this.#spawner.forget(root);
  }

  /** Lets go of every instance and stops acting on whatever comes in later. */
  close(): void {
    this.#closed = true;
    this.#alarm.close();
    this.#waiting.clear();
    this.#kept.clear();
    this.#instances.close();
    this.#connector.close();
    this.#restarts.close();
  }

  /**
   * Performs effects in the order they were decided. Performing one may lead to another event (a
   * client that is gone, an instance that refuses): its effects follow after those already there.
   */
  #perform(effects: readonly Effect[]): void {
    if (this.#performing) {
      for (const effect of effects) this.#later.push(effect);
      return;
    }
    this.#performing = true;
    for (const effect of effects) this.#tryToPerform(effect);
    if (this.#later.length > 0) {
      // The list grows while it is gone through.
      for (const effect of this.#later) this.#tryToPerform(effect);
      this.#later.length = 0;
    }
    this.#performing = false;
    this.#alarm.set(this.#pool.nextDeadline());
  }

  /** A mistake in performing one effect must not cost the others: they are decided already. */
  #tryToPerform(effect: Effect): void {
    try {
      this.#performOne(effect);
    } catch (error) {
      const stack = error instanceof Error ? (error.stack ?? "") : "";
      this.#log.error("internal error", { effect: effect.kind, cause: String(error), stack });
    }
  }

  #performOne(effect: Effect): void {
    switch (effect.kind) {
      case "grant":
        this.#grant(effect.waiter, effect.session, effect.instance);
        break;
      case "recall":
        this.#recall(effect.session);
        break;
      case "refuse":
        this.#refuse(effect.waiter, effect.refusal);
        break;
      case "spawn":
        void this.#spawn(effect.spawn, effect.options);
        break;
      case "endSpawn":
        this.#spawns.get(effect.spawn)?.ending.abort("there is newer code to be started");
        break;
      case "giveUp":
        this.#instances.giveUp(effect.instance, effect.overrun, effect.what);
        break;
      case "retire":
        this.#sticky.forget(effect.instance);
        this.#instances.retire(effect.instance, effect.reason);
        break;
      case "reload":
        this.#instances.log.restarts(escapeForLog(effect.root));
        this.#spawner.reload(effect.root);
        break;
      case "rolledOut":
        this.#instances.log.rolledOut(escapeForLog(effect.root), effect.outcome);
        break;
    }
  }

  #grant(waiter: WaiterId, session: SessionId, id: InstanceId): void {
    const pending = this.#unanswered(waiter);
    // Withdrawn between the decision and now: an effect before this one ended its client.
    if (pending === undefined) return this.#dropSession(session);
    pending.isRecallDue = false;
    if (pending.kept) this.#kept.set(session, pending);
    this.#connector.connect(pending, session, id);
  }

  /** Not before the client knows of its session: its instance may still be connected to. */
  #recall(session: SessionId): void {
    const get = this.#kept.get(session);
    // It may have been closed meanwhile.
    if (get === undefined) return;
    if (get.sessionId < 0) get.isRecallDue = true;
    else get.client.recalled(get);
  }

  #unanswered(waiter: WaiterId): ClientGet | undefined {
    const get = this.#atHand;
    if (get?.waiter === waiter && !get.answered) return get;
    return this.#waiting.get(waiter);
  }

  #connected(get: ClientGet, session: SessionId, by: Instance, id: InstanceId, fd: OwnedFd): void {
    this.#answer(get);
    this.#sticky.granted(get, id);
    get.client.granted(get, by, session, fd);
    if (get.isRecallDue) get.client.recalled(get);
  }

  #connectFailed(pending: ClientGet, session: SessionId, pid: number, cause: string): void {
    const known = { app: escapeForLog(pending.app.root), pid, cause };
    this.#log.event(0, "instance does not accept sessions", known);
    this.#kept.delete(session);
    this.#perform(this.#pool.connectFailed(session, cause, performance.now()));
  }

  #gaveUpConnecting(pending: ClientGet, session: SessionId, cause: string): void {
    this.#dropSession(session);
    this.#answer(pending);
    pending.client.refused(pending, { kind: "cannotConnect", cause });
  }

  #alternative(session: SessionId): InstanceId | undefined {
    const { instance, effects } = this.#pool.alternative(session, performance.now());
    this.#perform(effects);
    return instance;
  }

  #refuse(waiter: WaiterId, refusal: GetRefusal): void {
    const pending = this.#unanswered(waiter);
    if (pending === undefined) return; // Withdrawn meanwhile, as in #grant.
    this.#answer(pending);
    pending.client.refused(pending, refusal);
  }

  #answer(pending: ClientGet): void {
    pending.answered = true;
    const { waiter } = pending;
    if (this.#waiting.size > 0 && waiter !== undefined) this.#waiting.delete(waiter);
  }

  async #spawn(spawn: SpawnId, app: AppRequest): Promise<void> {
    const began = performance.now();
    const name = escapeForLog(app.root);
    this.#log.event(2, "spawning", { app: name, type: escapeForLog(ascii(app.appType)) });
    const request = this.applications.spawnRequest(app, this.#spawnTimeoutMs);
    const ending = new AbortController();
    this.#spawns.set(spawn, { root: app.root, ending });
    let instance: Instance;
    try {
      instance = await this.#spawner.spawn({ ...request, useless: ending.signal });
    } catch (error) {
      if (this.#closed) return;
      const message = causeText(error);
      this.#instances.log.spawnFailed(name, message, ending.signal.aborted);
      const page = error instanceof SpawnFailedError ? error.page : undefined;
      this.#perform(this.#pool.spawnFailed(spawn, { message, page }, performance.now()));
      return;
    } finally {
      this.#spawns.delete(spawn);
    }
    if (this.#closed) return instance.release();
    this.#instances.log.spawned(instance, name, Math.round(performance.now() - began));
    const { pid, concurrency, reports } = instance;
    const ready = { pid, concurrency, reportsDone: reports !== undefined };
    const { instance: id, effects } = this.#pool.spawned(spawn, ready, performance.now());
    this.#instances.add(id, instance, app.root);
    this.#perform(effects);
  }
}
