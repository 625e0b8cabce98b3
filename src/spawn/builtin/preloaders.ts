/**
 * The preloaders there are: one for each application at most. A preloader goes on reload, when it
 * has forked nothing for a while, when an instance is asked for that would run otherwise (another
 * user, other variables), and, longest unused first, when there are more than the pool has places.
 *
 * Where there are as many as places, an application without one is started without, unless it has
 * more use for one than who has it: of more applications than places that take turns, each would
 * else lose its preloader after one fork, which costs twice of what it saves.
 */
import type { ByteString } from "../../wire/bytes.ts";
import type { Preloader } from "./preloader.ts";

/** How long one is kept that forks nothing (PROTOCOL section 10). */
const protocolIdleMs = 5 * 60_000;

/** One that is unused for so many times the time since an application's last start makes room. */
const unusedFactor = 2;
/** Applications whose last start without a preloader is remembered; of more it is forgotten. */
const maxRemembered = 1_000;

interface KnownPreloader {
  readonly preloader: Preloader;
  /** What it was started with, to tell whether another instance would run the same. */
  readonly signature: string;
  lastUsedMs: number;
  /** Spawns that wait for it. */
  users: number;
}

export class Preloaders {
  /** Longest unused first. */
  readonly #entries = new Map<ByteString, KnownPreloader>();
  /** Retired ones that a spawn still uses, and those on their way out. */
  readonly #leaving = new Map<Preloader, ByteString>();
  /** When applications were last started without one because there were as many as there may be. */
  readonly #startedWithout = new Map<ByteString, number>();
  readonly #idleMs: number;
  #max = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(idleMs: number = protocolIdleMs) {
    this.#idleMs = idleMs;
  }

  /** How many there may be. */
  setMax(max: number): void {
    this.#max = max;
    this.#keepMax();
  }

  /** Whether an instance that is to be started now is to be forked by a preloader. */
  isWorthOne(root: ByteString): boolean {
    if (this.#entries.has(root) || this.#entries.size < this.#max) return true;
    const now = performance.now();
    const [first] = this.#entries.values();
    const startedMs = this.#startedWithout.get(root) ?? -Infinity;
    if (first?.users === 0 && now - first.lastUsedMs > unusedFactor * (now - startedMs)) {
      this.#startedWithout.delete(root);
      return true;
    }
    if (this.#startedWithout.size >= maxRemembered) this.#startedWithout.clear();
    this.#startedWithout.set(root, now);
    return false;
  }

  /**
   * Lends an application's preloader to `use`, starting one if there is none that fits.
   * @param signature equal where instances would run alike.
   */
  async with<T>(
    root: ByteString,
    signature: string,
    start: () => Preloader,
    use: (preloader: Preloader) => Promise<T>,
  ): Promise<T> {
    const entry = this.#find(root, signature) ?? this.#add(root, signature, start());
    entry.users += 1; // First: while it is used it is not one too many.
    this.#touch(root, entry);
    try {
      return await use(entry.preloader);
    } finally {
      entry.users -= 1;
      entry.lastUsedMs = performance.now();
      if (this.#leaving.has(entry.preloader) && entry.users === 0) this.#end(entry.preloader);
      this.#keepMax();
      this.#schedule();
    }
  }

  /** The code of an application has changed. */
  reload(root: ByteString): void {
    const entry = this.#entries.get(root);
    if (entry !== undefined) this.#retire(root, entry);
  }

  /** All that there are, with their roots, also those on their way out. */
  *all(): Iterable<[ByteString, Preloader]> {
    for (const [root, { preloader }] of this.#entries) yield [root, preloader];
    for (const [preloader, root] of this.#leaving) yield [root, preloader];
  }

  /** Ends all of them. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    for (const [root, entry] of this.#entries) {
      entry.users = 0;
      this.#retire(root, entry);
    }
    await Promise.all(Array.from(this.#leaving.keys(), (preloader) => preloader.end()));
  }

  #find(root: ByteString, signature: string): KnownPreloader | undefined {
    const entry = this.#entries.get(root);
    if (entry === undefined) return undefined;
    if (entry.preloader.isUsable && entry.signature === signature) return entry;
    this.#retire(root, entry);
    return undefined;
  }

  #add(root: ByteString, signature: string, preloader: Preloader): KnownPreloader {
    const entry = { preloader, signature, lastUsedMs: 0, users: 0 };
    this.#entries.set(root, entry);
    return entry;
  }

  /** Puts it at the end: the first is the one unused longest. */
  #touch(root: ByteString, entry: KnownPreloader): void {
    entry.lastUsedMs = performance.now();
    this.#entries.delete(root);
    this.#entries.set(root, entry);
    this.#keepMax();
  }

  #keepMax(): void {
    for (const [root, entry] of this.#entries) {
      if (this.#entries.size <= this.#max) return;
      if (entry.users === 0) this.#retire(root, entry);
    }
  }

  #retire(root: ByteString, entry: KnownPreloader): void {
    this.#entries.delete(root);
    this.#leaving.set(entry.preloader, root);
    if (entry.users === 0) this.#end(entry.preloader);
  }

  #end(preloader: Preloader): void {
    void preloader.end().then(() => this.#leaving.delete(preloader));
  }

  /** One timer, for the one that will be unused long enough first. */
  #schedule(): void {
    const [first] = this.#entries.values();
    if (first === undefined || this.#timer !== undefined) return;
    const restMs = first.lastUsedMs + this.#idleMs - performance.now();
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#endIdle();
        this.#schedule();
      },
      Math.max(0, restMs), // It may have come due since the others were looked at.
    );
  }

  #endIdle(): void {
    const now = performance.now();
    for (const [root, entry] of this.#entries) {
      if (entry.users > 0) entry.lastUsedMs = now;
      else if (entry.lastUsedMs + this.#idleMs <= now) this.#retire(root, entry);
    }
  }
}
