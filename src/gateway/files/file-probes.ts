/**
 * Whether files of an application can be opened now without waiting: a worker opens and sends them
 * on the event loop that all share. On local disks they can. What lies elsewhere (NFS, FUSE) is
 * tried first, on a thread of Bun's pool: who has just answered there will do so here. Where a user
 * decides who is answered, and when, nothing is tried: FUSE that he has mounted himself.
 *
 * A dead file system holds that thread for as long as it likes, so few of the pool are ever used,
 * and an application whose files did not answer is served without them until they do.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { availableParallelism } from "node:os";

import { inTime } from "../../native/in-time.ts";
import type { MountKind } from "../../native/mounts.ts";
import { fromText, toBytes, type ByteString } from "../../wire/bytes.ts";
import type { FilePlace } from "../config.ts";
import { kindOfPlace, type MayEnter } from "./public-opening.ts";

/** How long a request waits for the files of its application. */
const limitMs = 1_000;
/** How long an application is served without its files after they have not answered. */
const pauseMs = 5_000;
/** How long it is remembered where a directory lies. */
const momentMs = 200;
/** Bun's pool has about as many threads as there are processors; logs and spools need some too. */
const maxProbes = Math.max(1, Math.min(4, availableParallelism() - 1));

const isLocal: MayEnter = (mount) => mount === "local";
const isNotUsers: MayEnter = (mount) => mount !== "user's";

interface Known {
  kind: MountKind;
  untilMs: number;
  /** Until when its files are not asked for. */
  hangsUntilMs: number;
}

export class FileProbes {
  readonly #known = new Map<string, Known>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param name below the place. @returns true on a local disk; else whether to try, later. */
  ready(place: FilePlace, name: ByteString, nowMs: number): true | Promise<boolean> {
    const known = this.#lookUp(place, nowMs);
    if (known.kind === "local") return true;
    if (known.kind === "user's") return Promise.resolve(false);
    if (nowMs < known.hangsUntilMs) return Promise.resolve(false);
    return this.#answersInTime(
      known,
      toBytes(`${fromText(place.directory)}/${name}` as ByteString),
    );
  }

  /** Which mounts may be entered where `ready` has allowed it, or need not be asked. */
  mayEnter({ directory }: FilePlace): MayEnter {
    return this.#known.get(directory)?.kind === "remote" ? isNotUsers : isLocal;
  }

  #lookUp(place: FilePlace, nowMs: number): Known {
    const { directory } = place;
    const known = this.#known.get(directory) ?? { kind: "local", untilMs: 0, hangsUntilMs: 0 };
    if (nowMs < known.untilMs) return known;
    this.#known.set(directory, known);
    known.kind = kindOfPlace(place);
    known.untilMs = nowMs + momentMs;
    return known;
  }

  async #answersInTime(known: Known, path: Uint8Array): Promise<boolean> {
    const answered = this.#probe(path);
    if (await inTime(answered, limitMs, () => false)) return true;
    known.hangsUntilMs = Infinity;
    void answered.then(() => (known.hangsUntilMs = performance.now() + pauseMs));
    return false;
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
