/**
 * restart.txt (PROTOCOL section 7): whether an application asks to be restarted. Asked on every
 * `get` of an application that has instances, so the usual answer (there is none) must cost one
 * unlink(2) and nothing else.
 */
import { lstatSync, statSync } from "node:fs";

import { unlink } from "../native/fd.ts";
import { toBytes, type ByteString } from "../wire/bytes.ts";

export class RestartFiles {
  /** The path asked about last: most often it is asked about again. */
  #lastRoot = "" as ByteString;
  #lastPath = "/tmp/restart.txt" as ByteString;
  /** mtime in nanoseconds of each restart.txt that could not be deleted. */
  readonly #seen = new Map<ByteString, bigint>();

  /**
   * Deletes `<root>/tmp/restart.txt`. @returns whether the application must restart: the file was
   * deleted or vanished meanwhile, or it cannot be deleted and its mtime differs from the one seen
   * last.
   */
  askedFor(root: ByteString): boolean {
    if (root !== this.#lastRoot) {
      this.#lastRoot = root;
      this.#lastPath = `${root}/tmp/restart.txt` as ByteString;
    }
    const path = this.#lastPath;
    let result: ReturnType<typeof unlink>;
    try {
      result = unlink(path);
    } catch (error) {
      if (error instanceof RangeError) return false; // longer than any path can be: not there
      throw error;
    }
    if (typeof result === "string") {
      if (this.#seen.size > 0) this.#seen.delete(root);
      return result === "deleted";
    }
    return this.#changed(root, path);
  }

  #changed(root: ByteString, path: ByteString): boolean {
    let changedNs: bigint;
    try {
      const bytes = toBytes(path);
      const options = { bigint: true, throwIfNoEntry: false } as const;
      // A link that leads nowhere is there all the same.
      const facts = statSync(bytes, options) ?? lstatSync(bytes, options);
      if (facts === undefined) return true; // gone between the two calls: as good as deleted
      changedNs = facts.mtimeNs;
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
      return false; // one we may not even look at cannot ask for anything
    }
    const known = this.#seen.get(root);
    this.#seen.set(root, changedNs);
    return known !== changedNs;
  }
}
