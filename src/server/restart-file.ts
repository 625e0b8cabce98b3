/**
 * restart.txt (PROTOCOL section 7): whether an application asks to be restarted. Asked on every
 * `get` of an application that has instances, so the usual answer (there is none) must cost one
 * system call and nothing else; and it must not wait for a file system, since all applications
 * would. What the kernel does not remember is looked for aside, where that could take long.
 */
import { lookWithoutWaiting, type Found } from "../native/look.ts";
import { mayFilesHang } from "../native/mounts.ts";
import type { FilesAside } from "../spawn/files-aside.ts";
import { deleteRestartFile, type Deletion } from "../spawn/restart-deletion.ts";
import type { ByteString } from "../wire/bytes.ts";

/** How long the gets of one application wait for its restart.txt. */
const limitMs = 1_000;
/** More is deleted aside: a file of so much, in pieces however small, is gone in a moment. */
const maxDeletedHere = 1024 * 1024;

export class RestartFiles {
  readonly #aside: FilesAside;
  /** The path asked about last: most often it is asked about again. */
  #lastRoot = "" as ByteString;
  #lastPath = "/tmp/restart.txt" as ByteString;
  /** mtime in nanoseconds of each restart.txt that could not be deleted. */
  readonly #seen = new Map<ByteString, bigint>();

  constructor(aside: FilesAside) {
    this.#aside = aside;
  }

  /**
   * Deletes `<root>/tmp/restart.txt`. @returns whether the application must restart: the file was
   * deleted or vanished meanwhile, or it cannot be deleted and its mtime differs from the one seen
   * last; `unknown`: `find` will say.
   */
  askedFor(root: ByteString): boolean | "unknown" {
    const found = this.#look(root);
    if (found === "absent") {
      if (this.#seen.size > 0) this.#seen.delete(root);
      return false;
    }
    if (found !== "unknown") {
      if (this.#seen.get(root) === found.changedNs) return false;
      if (found.diskBytes <= maxDeletedHere && !mayFilesHang()) return this.#deleteHere(root);
    }
    return this.#aside.hangs(root, "restart") ? false : "unknown";
  }

  /** Whether it must restart, found out aside. @throws Error (as a rejection). */
  async find(root: ByteString): Promise<boolean> {
    return this.#heed(root, await this.#aside.deleteRestartFile(root, limitMs));
  }

  #look(root: ByteString): Found | "absent" | "unknown" {
    if (root !== this.#lastRoot) {
      this.#lastRoot = root;
      this.#lastPath = `${root}/tmp/restart.txt` as ByteString;
    }
    const path = this.#lastPath;
    try {
      const found = lookWithoutWaiting(path, "link");
      if (typeof found === "string" || !found.isLink) return found;
      const target = lookWithoutWaiting(path, "target");
      // A link that leads nowhere is there all the same.
      return target === "absent" ? found : target;
    } catch (error) {
      if (error instanceof RangeError) return "absent"; // longer than any path can be
      throw error;
    }
  }

  #deleteHere(root: ByteString): boolean {
    let isAsked = false;
    deleteRestartFile(root, (deletion) => {
      isAsked = this.#heed(root, deletion);
    });
    return isAsked;
  }

  #heed(root: ByteString, deletion: Deletion): boolean {
    if (deletion.kind !== "kept") {
      this.#seen.delete(root);
      return deletion.kind !== "absent";
    }
    const changedNs = BigInt(deletion.changedNs);
    const known = this.#seen.get(root);
    this.#seen.set(root, changedNs);
    return known !== changedNs;
  }
}
