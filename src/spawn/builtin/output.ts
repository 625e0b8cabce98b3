/**
 * What an instance writes to its stdout and stderr: cut into lines for the log, and the end of it
 * kept for error pages. Everything is bounded: a line of any length costs no more than a piece.
 */
import type { OwnedFd } from "../../native/owned-fd.ts";
import { unreadBytes } from "../../native/pipe.ts";
import { ascii, fromBytes, type ByteString } from "../../wire/bytes.ts";
import { waitForExit } from "../process-end.ts";

/** Longer lines are passed on in pieces of this size. */
export const maxLineBytes = 8 * 1024;
/** How much of the output an error page shows. */
export const tailBytes = 8 * 1024;

const newline = 0x0a;

/** Takes a line. @returns false: it is too much, and what follows it at once is not wanted. */
export type TakeLine = (line: ByteString) => unknown;

/** Cuts a stream into lines, without their line ends. */
export class LineSplitter {
  readonly #take: TakeLine;
  /** What has no line end yet. */
  rest: string;
  /** The line at hand is not wanted. */
  #isSkipping = false;
  /** Bytes of lines that were not wanted. */
  droppedBytes = 0;

  /** @param rest the start of a line whose end is still to come. */
  constructor(take: TakeLine, rest = "") {
    this.#take = take;
    this.rest = rest;
  }

  /** Takes so many lines of a piece, from `start` on. @returns where it stopped. */
  push(chunk: Uint8Array, start = 0, maxLines = Infinity): number {
    let lines = 0;
    for (let at = start; at < chunk.length;) {
      if (lines >= maxLines) return at;
      lines += 1;
      const found = chunk.indexOf(newline, at);
      const end = found < 0 ? chunk.length : found;
      if (this.#isSkipping) {
        const next = found < 0 ? end : end + 1;
        this.droppedBytes += next - at;
        this.#isSkipping = found < 0;
        at = next;
        continue;
      }
      const cut = Math.min(end, at + maxLineBytes - this.rest.length);
      this.rest += fromBytes(chunk, at, cut);
      if (cut === chunk.length) break;
      const endBytes = cut === end ? 1 : 0;
      at = cut + endBytes;
      if (!this.#emit(endBytes)) return this.#skip(chunk, at);
    }
    return chunk.length;
  }

  /** Passes on what has no line end yet. */
  flush(): void {
    if (this.rest !== "") this.#emit(0);
  }

  #emit(endBytes: number): boolean {
    const line = this.rest as ByteString;
    this.rest = "";
    if (this.#take(line) !== false) return true;
    this.droppedBytes += line.length + endBytes;
    this.#isSkipping = endBytes === 0;
    return false;
  }

  /** The rest of a piece is not wanted, to the end of its last line. */
  #skip(chunk: Uint8Array, start: number): number {
    this.droppedBytes += chunk.length - start;
    if (chunk.length > start) this.#isSkipping = chunk[chunk.length - 1] !== newline;
    return chunk.length;
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

/** Lines passed on in one turn of the event loop: about a millisecond of work. */
const linesAtOnce = 500;
/** The pause after lines were not wanted: who floods must not cost others their turns. */
const floodPauseMs = 20;
/** How long what was dropped is added up before it is said. */
const noteMs = 1_000;
/** How long a dead instance's output is waited for: something it left behind may hold the pipe. */
const outputMs = 200;
/** The same while there is still some to read, as after a flood. */
const floodMs = 2_000;

/**
 * Reads an instance's pipe to its end, which is not the instance's: whatever it started and left
 * behind may still write.
 */
export class OutputReader {
  readonly #take: TakeLine;
  readonly #lines: LineSplitter;
  readonly #tail = new Tail();
  readonly #readEnd: OwnedFd;
  readonly #reader: ReturnType<typeof streamReader>;
  #isPassingOn = false;
  #isHandedOver = false;
  #noteTimer: ReturnType<typeof setTimeout> | undefined;
  /** Resolves when nobody can write any more, or after `stop`. */
  readonly ended: Promise<void>;

  /**
   * @param readEnd is owned here from now on. Bun waits for it on its event loop, by a duplicate.
   * @param rest what another reader has read of the line at hand.
   */
  constructor(readEnd: OwnedFd, take: TakeLine, rest = "") {
    this.#take = take;
    this.#lines = new LineSplitter(take, rest);
    this.#readEnd = readEnd;
    try {
      this.#reader = streamReader(readEnd.number);
    } catch (error) {
      readEnd.close();
      throw error; // There is no descriptor for the duplicate.
    }
    this.ended = this.#read();
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        this.#tail.push(value);
        await this.#passOn(value);
      }
    } catch {
      // A pipe that cannot be read is at its end.
    }
    if (this.#isHandedOver) return;
    this.#readEnd.close();
    this.#lines.flush();
    this.#noteSoon();
  }

  /**
   * Ends the reading so that another process can go on with it, which loses nothing: what has been
   * read is passed on. @returns the pipe, owned by the caller, and the start of the line at hand.
   */
  async handOver(): Promise<{ readEnd: OwnedFd; rest: string } | undefined> {
    if (!this.#readEnd.open) return undefined;
    this.#isHandedOver = true;
    this.stop();
    await this.ended;
    return { readEnd: this.#readEnd, rest: this.#lines.rest };
  }

  /** A part at a time: a pipe that is never empty must not keep everybody else from their turn. */
  async #passOn(chunk: Uint8Array): Promise<void> {
    this.#isPassingOn = true;
    for (let at = 0; at < chunk.length;) {
      const dropped = this.#lines.droppedBytes;
      at = this.#lines.push(chunk, at, linesAtOnce);
      if (this.#lines.droppedBytes > dropped) {
        this.#noteSoon();
        await Bun.sleep(floodPauseMs);
      } else {
        await new Promise<void>((resolve) => void setImmediate(resolve));
      }
    }
    this.#isPassingOn = false;
  }

  #noteSoon(): void {
    if (this.#lines.droppedBytes > 0) this.#noteTimer ??= setTimeout(() => this.#note(), noteMs);
  }

  /** Says how much was dropped, as a line like any other. */
  #note(): void {
    this.#noteTimer = undefined;
    if (this.#take(this.#dropNote) === false) this.#noteSoon();
    else this.#lines.droppedBytes = 0;
  }

  get #dropNote(): ByteString {
    const { droppedBytes } = this.#lines;
    return ascii(`(${droppedBytes} bytes of output were dropped: too much of it at once)`);
  }

  /** Whether something is written that has yet to be read and passed on. */
  get isBehind(): boolean {
    return this.#isPassingOn || (this.#readEnd.open && unreadBytes(this.#readEnd.number) > 0);
  }

  /** Waits until all that a process wrote has been read; does not wait for what it left behind. */
  async untilWritten(): Promise<void> {
    const until = performance.now() + floodMs;
    while (!(await waitForExit(this.ended, outputMs))) {
      if (!this.isBehind || performance.now() >= until) return;
    }
  }

  /** The last of what was written as text, once it is all there, or nearly at once. */
  async lastText(): Promise<string> {
    await this.untilWritten();
    return Buffer.from(this.#tail.bytes).toString("utf8");
  }

  /** Ends the reading; what was dropped is said now. */
  stop(): void {
    clearTimeout(this.#noteTimer);
    if (this.#lines.droppedBytes > 0) this.#take(this.#dropNote);
    void this.#reader.cancel().catch(() => {});
  }
}

function streamReader(readEnd: number) {
  return Bun.file(readEnd).stream().getReader();
}
