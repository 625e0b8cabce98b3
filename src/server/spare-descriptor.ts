/**
 * One descriptor kept in reserve. When the process has no other left (EMFILE, ENFILE), it is
 * closed, the work at hand uses its place for a moment, and it is opened again.
 */
import { errnos, SyscallError } from "../native/errno.ts";
import { open } from "../native/fd.ts";
import type { OwnedFd } from "../native/owned-fd.ts";

/** Whether an error says that no descriptor is free. */
export function isDescriptorShortage(error: unknown): error is SyscallError {
  return (
    error instanceof SyscallError &&
    (error.errno === errnos.EMFILE || error.errno === errnos.ENFILE)
  );
}

export class SpareDescriptor {
  #fd: OwnedFd | undefined;

  constructor() {
    this.restore();
  }

  /** Frees its place. @returns whether there was one to free. */
  lend(): boolean {
    const held = this.#fd !== undefined;
    this.#fd?.close();
    this.#fd = undefined;
    return held;
  }

  /** Takes a descriptor back into reserve, if one is free. */
  restore(): void {
    if (this.#fd !== undefined) return;
    try {
      this.#fd = open("/dev/null", "read");
    } catch {
      // Still none free: the next caller tries again.
    }
  }

  close(): void {
    this.lend();
  }
}
