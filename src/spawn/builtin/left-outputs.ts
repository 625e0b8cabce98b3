/**
 * Outputs of instances that have ended, held open by what they left behind. They are read on, so
 * that a daemon is not ended by its next line; but each takes descriptors of the server's, and one
 * program can collect the outputs of all that come after it. So an application has a few of them.
 */
import type { ByteString } from "../../wire/bytes.ts";
import type { OutputReader } from "./output.ts";

/** More than a restart of a usual application leaves. */
const maxLeft = 16;

export class LeftOutputs {
  readonly #byRoot = new Map<ByteString, Set<OutputReader>>();

  /** Returns when it has ended, or newer ones have taken its place. */
  async untilEnded(root: ByteString, output: OutputReader): Promise<void> {
    const left = this.#byRoot.get(root) ?? new Set();
    this.#byRoot.set(root, left.add(output));
    const [eldest] = left;
    if (left.size > maxLeft && eldest !== undefined) {
      left.delete(eldest);
      eldest.stop();
    }
    await output.ended;
    left.delete(output);
    if (left.size === 0 && this.#byRoot.get(root) === left) this.#byRoot.delete(root);
  }
}
