/**
 * Whether files of an application can be opened now without waiting: a worker opens and sends them
 * on the event loop that all share. On local disks they can. What lies elsewhere (NFS, FUSE) is
 * tried first, on a thread of Bun's pool: who has just answered there will do so here.
 *
 * A dead file system holds that thread for as long as it likes, so few of the pool are ever used,
 * and an application whose files did not answer is served without them until they do.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { availableParallelism } from "node:os";

import { lookCached } from "../../native/look.ts";
import { isLocalDevice } from "../../native/mounts.ts";
import { fromText, toBytes, type ByteString } from "../../wire/bytes.ts";

/** How long a request waits for the files of its application. */
const limitMs = 1_000;
/** How long an application is served without its files after they have not answered. */
const pauseMs = 5_000;
/** How long it is remembered where a directory lies. */
const momentMs = 200;
/** Bun's pool has about as many threads as there are processors; logs and spools need some too. */
const maxProbes = Math.max(1, Math.min(4, availableParallelism() - 1));

interface Known {
  isLocal: boolean;
  untilMs: number;
  /** Until when its files are not asked for. */
  hangsUntilMs: number;
}

export class FileProbes {
  readonly #known = new Map<string, Known>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param name below `public/`. @returns true on a local disk; else whether to try, later. */
  ready(root: string, name: ByteString, nowMs: number): true | Promise<boolean> {
    const known = this.#lookUp(root, nowMs);
    if (known.isLocal) return true;
    if (nowMs < known.hangsUntilMs) return Promise.resolve(false);
    return this.#answersInTime(known, toBytes(`${fromText(root)}/public/${name}` as ByteString));
  }

  #lookUp(root: string, nowMs: number): Known {
    const known = this.#known.get(root) ?? { isLocal: false, untilMs: 0, hangsUntilMs: 0 };
    if (nowMs < known.untilMs) return known;
    this.#known.set(root, known);
    const path = fromText(root);
    const found = lookCached(`${path}/public`, "target");
    // What lies in a local root is local, but for a mount that the kernel would remember.
    const place = found === "unknown" ? lookCached(path, "target") : found;
    // Where there is none that the kernel remembers, it need not ask for that either.
    known.isLocal = place === "absent" || (place !== "unknown" && isLocalDevice(place.device));
    known.untilMs = place === "unknown" ? 0 : nowMs + momentMs;
    return known;
  }

  async #answersInTime(known: Known, path: Uint8Array): Promise<boolean> {
    const { promise: late, resolve } = Promise.withResolvers<false>();
    const timer = setTimeout(() => resolve(false), limitMs);
    const answered = this.#probe(path);
    const isInTime = await Promise.race([answered, late]);
    clearTimeout(timer);
    if (isInTime) return true;
    known.hangsUntilMs = Infinity;
    void this.#askAgainAfter(known, answered);
    return false;
  }

  async #askAgainAfter(known: Known, answered: Promise<unknown>): Promise<void> {
    await answered;
    known.hangsUntilMs = performance.now() + pauseMs;
  }

  /** Resolves when the file system has answered, whatever it said. */
  async #probe(path: Uint8Array): Promise<true> {
    while (this.#running >= maxProbes) {
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    }
    this.#running += 1;
    try {
      const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
      const file = await open(Buffer.from(path), flags);
      try {
        await file.read(Buffer.alloc(1), 0, 1, 0);
      } finally {
        await file.close();
      }
    } catch {
      // That there is none is an answer too.
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
    return true;
  }
}
