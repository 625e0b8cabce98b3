/**
 * The last lines of each application's output, for whoever asks: bounded for each and in all. Lines
 * are numbered, so that one can ask for those after the last one seen.
 */
import { toText, type ByteString } from "../wire/bytes.ts";

/** Of one application: some 500 lines. */
const maxBytes = 64 * 1024;
/** Of all: those that have been silent longest are forgotten first. */
const maxBytesOfAll = 16 * 1024 * 1024;
/** What a string costs beside its characters. */
const lineOverhead = 32;

interface Recent {
  lines: ByteString[];
  /** Where the lines that count begin. */
  start: number;
  bytes: number;
  /** Of the last line. Numbers begin at the time, so no later list repeats those of a former. */
  last: number;
}

export class RecentLines {
  /** Those that have written last are last. */
  readonly #ofRoots = new Map<ByteString, Recent>();
  #bytes = 0;
  #lastRoot: ByteString | undefined;

  /** @param line with its line end. */
  add(root: ByteString, line: ByteString): void {
    const recent = this.#touch(root);
    recent.lines.push(line);
    recent.last += 1;
    this.#count(recent, costOf(line));
    while (recent.bytes > maxBytes) {
      this.#count(recent, -costOf(recent.lines[recent.start] ?? line));
      recent.start += 1;
    }
    if (recent.start > recent.lines.length / 2) {
      recent.lines = recent.lines.slice(recent.start);
      recent.start = 0;
    }
    while (this.#bytes > maxBytesOfAll) this.#forgetOldest();
  }

  /**
   * The lines after one by its number, in JSON: `lines`, `last` (the number to ask with next) and
   * `isGap`: lines between are not here any more.
   */
  json(root: ByteString, after: number): Uint8Array {
    const recent = this.#ofRoots.get(root);
    const { lines = [], start = 0, last = after } = recent ?? {};
    const count = lines.length - start;
    const isNew = Math.max(0, Math.min(count, last - after));
    const shown = isNew === 0 ? [] : lines.slice(-isNew);
    const isGap = after > 0 && last - after > count;
    return Buffer.from(JSON.stringify({ lines: shown.map((line) => toText(line)), last, isGap }));
  }

  #touch(root: ByteString): Recent {
    let recent = this.#ofRoots.get(root);
    recent ??= { lines: [], start: 0, bytes: 0, last: Date.now() * 1000 };
    if (this.#lastRoot !== root) {
      this.#ofRoots.delete(root);
      this.#ofRoots.set(root, recent);
      this.#lastRoot = root;
    }
    return recent;
  }

  #count(recent: Recent, bytes: number): void {
    recent.bytes += bytes;
    this.#bytes += bytes;
  }

  #forgetOldest(): void {
    const [oldest] = this.#ofRoots;
    if (oldest === undefined) return;
    const [root, { bytes }] = oldest;
    this.#ofRoots.delete(root);
    this.#bytes -= bytes;
  }
}

function costOf(line: ByteString): number {
  return line.length + lineOverhead;
}
