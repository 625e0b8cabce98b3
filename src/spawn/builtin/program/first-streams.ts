/**
 * Connections that were made to find out whether a program listens. They are not closed: a simple
 * program that writes to one would die of it (SIGPIPE). The first sessions are on them; what no
 * session wants is closed soon, before the program thinks that its client is slow.
 */
import type { OwnedFd } from "../../../native/owned-fd.ts";

/** Whoever has caused the start waits for it, so a session comes at once as a rule. */
const keptMs = 1_000;

export class FirstStreams {
  readonly #streams: OwnedFd[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Keeps a stream, owned here from now on. */
  add(stream: OwnedFd): void {
    this.#streams.push(stream);
    this.#timer ??= setTimeout(() => this.close(), keptMs);
  }

  /** The one that was made first; undefined: there is none. It is the caller's. */
  take(): OwnedFd | undefined {
    return this.#streams.shift();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const stream of this.#streams.splice(0)) stream.close();
  }
}
