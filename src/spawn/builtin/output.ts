/**
 * What an instance writes to its stdout and stderr: cut into lines for the log, and the end of it
 * kept for error pages. Everything is bounded: a line of any length costs no more than a piece.
 */
import { fromBytes, type ByteString } from "../../wire/bytes.ts";

/** Longer lines are passed on in pieces of this size. */
export const maxLineBytes = 8 * 1024;
/** How much of the output an error page shows. */
export const tailBytes = 8 * 1024;

const newline = 0x0a;

/** Cuts a stream into lines, without their line ends. */
export class LineSplitter {
  readonly #emit: (line: ByteString) => void;
  #rest = "";

  constructor(emit: (line: ByteString) => void) {
    this.#emit = emit;
  }

  push(chunk: Uint8Array): void {
    for (let start = 0; start < chunk.length;) {
      const found = chunk.indexOf(newline, start);
      const end = found < 0 ? chunk.length : found;
      const room = maxLineBytes - this.#rest.length;
      if (end - start > room) {
        this.#emit((this.#rest + fromBytes(chunk, start, start + room)) as ByteString);
        this.#rest = "";
        start += room;
        continue;
      }
      this.#rest += fromBytes(chunk, start, end);
      if (found >= 0) this.flush(true);
      start = end + 1;
    }
  }

  /** Passes on what has no line end yet; an empty line only if it is one. */
  flush(isLine = false): void {
    if (!isLine && this.#rest === "") return;
    const line = this.#rest as ByteString;
    this.#rest = "";
    this.#emit(line);
  }
}

/** The last bytes of a stream. */
export class Tail {
  #chunks: Uint8Array[] = [];
  #length = 0;

  push(chunk: Uint8Array): void {
    const last = chunk.slice(-tailBytes);
    this.#chunks.push(last);
    this.#length += last.length;
    // Joined only when twice too much is there, so that many small writes stay cheap.
    if (this.#length > 2 * tailBytes || this.#chunks.length > 1_000) this.#cut();
  }

  get bytes(): Uint8Array {
    this.#cut();
    return this.#chunks[0] ?? new Uint8Array(0);
  }

  #cut(): void {
    const kept = Buffer.concat(this.#chunks).subarray(-tailBytes);
    this.#chunks = kept.length === 0 ? [] : [new Uint8Array(kept)];
    this.#length = kept.length;
  }
}

/**
 * Reads an instance's pipe to its end, which is not the instance's: whatever it started and left
 * behind may still write.
 */
export class OutputReader {
  readonly #tail = new Tail();
  readonly #reader: ReturnType<typeof streamReader>;
  #readBytes = 0;
  /** Resolves when nobody can write any more, or after `stop`. */
  readonly ended: Promise<void>;

  /** @param readEnd is duplicated: the caller closes its own. */
  constructor(readEnd: number, emit: (line: ByteString) => void) {
    this.#reader = streamReader(readEnd);
    this.ended = this.#read(new LineSplitter(emit));
  }

  async #read(lines: LineSplitter): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        this.#readBytes += value.length;
        this.#tail.push(value);
        lines.push(value);
        // A pipe that is never empty must not keep everybody else from their turn.
        await new Promise<void>((resolve) => void setImmediate(resolve));
      }
    } catch {
      // A pipe that cannot be read is at its end.
    }
    lines.flush();
  }

  /** How much has been read so far. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** The last of what was written. */
  get tailText(): string {
    return Buffer.from(this.#tail.bytes).toString("utf8");
  }

  stop(): void {
    void this.#reader.cancel().catch(() => {});
  }
}

/** Bun waits for a pipe on its event loop, by a duplicate of the descriptor that it closes. */
function streamReader(readEnd: number) {
  return Bun.file(readEnd).stream().getReader();
}
