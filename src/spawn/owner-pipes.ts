/**
 * Deaths of instances that are not our children: the reading end of an owner pipe goes with its
 * process, and poll(2) shows that as an error on our writing end. One poll a second over all of
 * them, and none while there are none.
 */
import { findBroken } from "../native/fd.ts";
import type { OwnedFd } from "../native/owned-fd.ts";

const pollEveryMs = 1_000;

export class OwnerPipes {
  readonly #watched = new Map<OwnedFd, () => void>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Calls `onDeath` once when the pipe's other end is gone. */
  watch(pipe: OwnedFd, onDeath: () => void): void {
    this.#watched.set(pipe, onDeath);
    this.#timer ??= setInterval(() => this.#look(), pollEveryMs);
  }

  /** Closes the pipe, which tells the instance to go. */
  close(pipe: OwnedFd): void {
    this.#forget(pipe);
    pipe.close();
  }

  #forget(pipe: OwnedFd): void {
    this.#watched.delete(pipe);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const watched = [...this.#watched];
    for (const index of findBroken(watched.map(([pipe]) => pipe.number))) {
      const found = watched[index];
      if (found === undefined) continue;
      const [pipe, onDeath] = found;
      this.#forget(pipe);
      onDeath();
    }
  }
}
