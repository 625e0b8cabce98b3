/**
 * Orphans: the sessions of one application whose pool server has gone. Their instances serve on
 * until the sessions are closed (PROTOCOL section 10), so nobody has to wait for new ones. Rules:
 * - They serve who waits for sessions of the next server, as long as there are fewer new sessions
 *   than orphans: old instances leave as new ones come.
 * - They end where the line's sessions would: when a restart is wanted, or after a short time
 *   without a request; and well before their instances do.
 * - Who takes only a session that no other request has been on, or goes on with one instance,
 *   waits for the next server.
 */
import type { RestartFile } from "./restart-file.ts";
import type { SessionWaiter } from "./session-line.ts";
import { keptMs, type SessionStream, type StreamKeeper } from "./session-stream.ts";

/** For how long they serve: half of the time that their instances have (PROTOCOL section 10). */
const servingMs = 5_000;
const tickMs = 25;

/** Who asks the next server for sessions. */
export interface Guardian {
  adopt(orphans: Orphans): void;
  /** How many sessions of the application the next server has given. */
  newSessions(root: string): number;
  /** Who waits for one, but for those who take only one of their own. He waits no more. */
  next(root: string): SessionWaiter | undefined;
}

export class Orphans implements StreamKeeper {
  readonly root: string;
  readonly #guardian: Guardian;
  readonly #restart: RestartFile;
  readonly #all: Set<SessionStream>;
  /** Those without a request, longest first. */
  readonly #idle: SessionStream[];
  readonly #timer: Timer;
  #untilMs = performance.now() + servingMs;
  #givingWay = 0;

  /** @param streams that are kept; of them, @param idle have no request, longest first. */
  constructor(
    root: string,
    guardian: Guardian,
    restart: RestartFile,
    streams: readonly SessionStream[],
    idle: readonly SessionStream[],
  ) {
    this.root = root;
    this.#guardian = guardian;
    this.#restart = restart;
    this.#all = new Set(streams);
    this.#idle = [...idle];
    for (const stream of streams) stream.keptBy(this);
    this.#timer = setInterval(() => this.#tick(), tickMs);
    this.#timer.unref();
  }

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  /** No further request: the application is to be restarted. */
  end(): void {
    this.#untilMs = 0;
    this.#tick();
  }

  /** One of them ends, as soon as it has no request: the next server has given another. */
  giveWay(): void {
    const [longest] = this.#idle;
    if (longest === undefined) this.#givingWay += 1;
    else longest.close();
  }

  /** Serves the waiter if one is idle. @returns whether one is. */
  lend(waiter: SessionWaiter): boolean {
    if (waiter.needsFresh || waiter.token !== undefined || !this.#mayServe()) return false;
    const stream = this.#idle.pop();
    if (stream === undefined) return false;
    waiter.serve(stream, performance.now());
    return true;
  }

  /** For streams, as is `closed`. */
  freed(stream: SessionStream): void {
    if (!stream.isOpen) return;
    if (this.#givingWay > 0) {
      this.#givingWay -= 1;
      return stream.close();
    }
    if (!this.#mayServe()) return stream.close();
    const waiter = this.#guardian.next(this.root);
    const nowMs = performance.now();
    if (waiter !== undefined) return waiter.serve(stream, nowMs);
    stream.idleSinceMs = nowMs;
    this.#idle.push(stream);
  }

  closed(stream: SessionStream): void {
    this.#all.delete(stream);
    const at = this.#idle.indexOf(stream);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#all.size === 0) clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    const isOver = !this.isWanted;
    for (const stream of this.#idle.slice()) {
      if (isOver || nowMs - stream.idleSinceMs >= keptMs) stream.close();
    }
  }

  #mayServe(): boolean {
    if (this.isWanted && !this.#restart.hasCome()) return true;
    this.#untilMs = 0;
    return false;
  }

  /** Whether they serve on, as long as restart.txt does not come. */
  get isWanted(): boolean {
    const isInTime = performance.now() < this.#untilMs;
    return isInTime && this.#guardian.newSessions(this.root) < this.#all.size;
  }
}
