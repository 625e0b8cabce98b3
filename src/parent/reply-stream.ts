/**
 * The server's bytes as replies. Untagged replies come in the order of their commands, tagged ones
 * in between, each whole. One of the untagged is no array message: the scalar of `inspect`. A
 * tagged reply may still come before it, so the two are told apart by their bytes: the fifth byte
 * of a scalar that is a JSON object is `{`, which that of a reply to a tagged get (`ok NUL`,
 * `SpawnException` …) never is, and a scalar below 64 KiB begins with two zeros, which no array
 * message does.
 */
import { Decoder } from "../wire/decoder.ts";
import { parseReply, type Reply } from "../wire/replies.ts";
import { MAX_PAGE_BYTES } from "../wire/scalar-message.ts";

/** The most bytes of a snapshot: some 200 for each of 100,000 instances, and room. */
const maxSnapshotBytes = 64 * 1024 * 1024;

type RefusalHead = Extract<Reply, { kind: "refusal" }>;
export type StreamReply = Reply | { readonly kind: "snapshot"; readonly json: Uint8Array };

export class ReplyStream {
  readonly #decoder = new Decoder();
  /** A spawn exception whose page has not arrived yet. */
  #refusal: RefusalHead | undefined;
  #inSnapshot = false;

  push(chunk: Uint8Array): void {
    this.#decoder.push(chunk);
  }

  /**
   * The next whole reply, or undefined. @param awaitsSnapshot whether the oldest command without an
   * answer is `inspect`. @throws ProtocolError.
   */
  next(awaitsSnapshot: boolean): StreamReply | undefined {
    if (this.#refusal !== undefined) return this.#nextPage(this.#refusal);
    if (awaitsSnapshot) {
      const snapshotIsNext = this.#snapshotIsNext();
      if (snapshotIsNext === undefined) return undefined;
      if (snapshotIsNext) return this.#nextSnapshot();
    }
    const elements = this.#decoder.nextArray();
    if (elements === undefined) return undefined;
    const { reply, pageFollows } = parseReply(elements);
    if (!pageFollows || reply.kind !== "refusal") return reply;
    return this.#nextPage(reply);
  }

  #nextPage(refusal: RefusalHead): Reply | undefined {
    const page = this.#decoder.nextScalar(MAX_PAGE_BYTES);
    this.#refusal = page === undefined ? refusal : undefined;
    return page && { ...refusal, page };
  }

  #nextSnapshot(): StreamReply | undefined {
    const json = this.#decoder.nextScalar(maxSnapshotBytes);
    this.#inSnapshot = json === undefined;
    return json && { kind: "snapshot", json };
  }

  /** Undefined while too little has arrived to say. */
  #snapshotIsNext(): boolean | undefined {
    if (this.#inSnapshot) return true;
    const head = this.#decoder.takeRest();
    this.#decoder.push(head);
    if (head.length < 5) return undefined;
    return (head[0] === 0 && head[1] === 0) || head[4] === 0x7b;
  }
}
