/**
 * RestartFile: whether an application's restart.txt has come that no get has heeded yet. Only a get
 * lets the pool notice it; whoever keeps sessions looks before each further request.
 */
import { isAbsent, lookWithoutWaiting, type Found } from "../native/look.ts";
import { mayFilesHang } from "../native/mounts.ts";

export class RestartFile {
  readonly #path: string;
  readonly #sharesLooks: () => boolean;
  /** Whether nothing new was found in this turn of the event loop. */
  #isLooked = false;
  /** When the file was written that was heeded last: one that cannot be deleted stays. */
  #heededNs: bigint | undefined;

  /** @param sharesLooks whether what is found holds for all of a turn of the event loop. */
  constructor(root: string, sharesLooks: () => boolean) {
    this.#path = `${root}/tmp/restart.txt`;
    this.#sharesLooks = sharesLooks;
  }

  /** Says so once for each time that it was written; always where we may not see it. */
  hasCome(): boolean {
    if (this.#isLooked) return false;
    // Nearly always there is none, or we may not see it: one system call.
    const found = look(this.#path);
    // Only the pool can find out: whoever asks it for a session is served by its answer.
    const isNew = found !== "absent" && (found === "unknown" || found.changedNs !== this.#heededNs);
    this.#heededNs = typeof found === "string" ? undefined : found.changedNs;
    if (!isNew && this.#sharesLooks()) {
      this.#isLooked = true;
      // It runs when the turn is over.
      setImmediate(() => (this.#isLooked = false));
    }
    return isNew;
  }
}

/** Never waits for a file system: all lines would. */
function look(path: string): Found | "absent" | "unknown" {
  try {
    if (!mayFilesHang() && isAbsent(path)) return "absent";
    return lookWithoutWaiting(path, "target");
  } catch (error) {
    if (error instanceof RangeError) return "absent"; // longer than any path can be
    throw error;
  }
}
