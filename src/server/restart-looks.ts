/**
 * Gets whose application's restart.txt is being looked for aside: they wait until it is found out,
 * so that a touch before a get is heeded by that get. One look is under way for an application at a
 * time; those who come meanwhile share the next.
 */
import { FilesAside } from "../spawn/files-aside.ts";
import { escapeForLog, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import type { ClientGet } from "./client-get.ts";
import type { Log } from "../logging/log.ts";
import { RestartFiles } from "./restart-file.ts";

/** Goes on with a get. @returns false: it has been withdrawn. */
type Serve = (get: ClientGet, restart: boolean, now?: number) => boolean;

export class RestartLooks {
  /** Undefined: it is somebody else's, who goes on with it. */
  readonly #ownAside: FilesAside | undefined;
  readonly #files: RestartFiles;
  readonly #log: Log;
  readonly #serve: Serve;
  /** Applications that are being looked at, for whom, and who has come since that look began. */
  readonly #looking = new Map<
    ByteString,
    { readonly gets: readonly ClientGet[]; readonly next: ClientGet[] }
  >();
  /** Asked for nothing when it was looked at, since which no client was read. */
  #quiet: ByteString | undefined;
  /** Those that are to restart, but whoever asked has been withdrawn. */
  readonly #due = new Set<ByteString>();

  /** @param aside who looks where that may take long, the spawner's; undefined: it has nobody. */
  constructor(log: Log, serve: Serve, aside: FilesAside | undefined) {
    const looks = aside ?? new FilesAside();
    this.#ownAside = aside === undefined ? looks : undefined;
    this.#files = new RestartFiles(looks);
    this.#log = log;
    this.#serve = serve;
  }

  /** Gets that are read from now on may have been sent after a touch that no look has seen. */
  clientRead(): void {
    this.#quiet = undefined;
  }

  /** Serves the get, at once if that is possible. @param now monotonic milliseconds. */
  arrive(get: ClientGet, now: number): void {
    const { root } = get.app;
    const look = this.#looking.size > 0 ? this.#looking.get(root) : undefined;
    if (look !== undefined) return void look.next.push(get);
    const asked = root !== this.#quiet && this.#files.askedFor(root);
    // As nearly always: there is none.
    if (asked === false) this.#quiet = root;
    if (asked === false && this.#due.size === 0) this.#serve(get, false, now);
    else this.#goOn(root, [get], asked);
  }

  /** The gets of an application that wait; those withdrawn are among them. */
  waiting(root: ByteString): readonly ClientGet[] {
    const look = this.#looking.get(root);
    return look === undefined ? [] : [...look.gets, ...look.next];
  }

  close(): void {
    this.#ownAside?.close();
  }

  #goOn(root: ByteString, gets: readonly ClientGet[], asked: boolean | "unknown"): void {
    if (asked === "unknown") void this.#lookAside(root, gets);
    else this.#go(root, gets, asked);
  }

  async #lookAside(root: ByteString, gets: readonly ClientGet[]): Promise<void> {
    const next: ClientGet[] = [];
    this.#looking.set(root, { gets, next });
    let asked = false;
    try {
      asked = await this.#files.find(root);
    } catch (error) {
      // Gets go on as if there were none.
      const cause = causeText(error);
      this.#log.event(0, "restart.txt not looked for", { app: escapeForLog(root), cause });
    }
    this.#looking.delete(root);
    this.#go(root, gets, asked);
    if (next.length > 0) this.#goOn(root, next, this.#files.askedFor(root));
  }

  /** The first of them that is still there restarts the application. */
  #go(root: ByteString, gets: readonly ClientGet[], asked: boolean): void {
    let restart = asked || (this.#due.size > 0 && this.#due.delete(root));
    for (const get of gets) {
      if (this.#serve(get, restart)) restart = false;
    }
    if (restart) this.#due.add(root);
  }
}
