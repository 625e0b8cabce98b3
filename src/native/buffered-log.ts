/**
 * Lines to a log file or to stdout, gathered and written together: a system call for each request
 * would be felt. Writes are Bun's own, on its threads: neither a slow disk nor a pipe that nobody
 * reads holds the event loop. What finds no room, in the buffer or on the disk, is dropped,
 * counted, and mentioned when there is room again.
 */
import { close, fstatSync, write } from "node:fs";
import { inTime } from "./in-time.ts";

/** How long a line may wait for company. */
const gatherMs = 100;
/** Between two tries on a pipe that takes nothing more. */
const retryMs = 5;
/** Written together at most. */
const pieceBytes = 64 * 1024;
/** PIPE_BUF: what several processes write to one pipe without mixing (pipe(7)). */
const pipePieceBytes = 4096;
/** What may wait to be written: at 300 bytes a line, some 14,000 requests. */
const maxWaitingBytes = 4 * 1024 * 1024;
/** The same of all logs of this process, where each has a little whatever becomes of the others. */
const maxWaitingOfAll = 32 * 1024 * 1024;
/** How long the end waits for what is left. */
const closeLimitMs = 1000;

const stdout = 1;
const newline = 0x0a;

export class BufferedLog {
  static #waitingOfAll = 0;
  readonly #what: string;
  readonly #open: (() => number) | undefined;
  #fd: number;
  #isPipe: boolean;
  /** Opened anew; in use from the next piece on. */
  #freshFd: number | undefined;
  /** Bytes, or ASCII: a buffer for each of these would cost more than the line. */
  #lines: (Buffer | string)[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  /** The start of a line went out, and the rest never will. */
  #isCut = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> | undefined;
  #isClosing = false;

  /**
   * @param what its lines are of, in the plural. @param open opens the file, now and anew;
   * undefined: stdout. @throws Error of it.
   */
  constructor(what: string, open: (() => number) | undefined) {
    this.#what = what;
    this.#open = open;
    this.#fd = open === undefined ? stdout : open();
    this.#isPipe = isPipe(this.#fd);
  }

  /** A line with its line end. */
  write(line: string): void {
    this.writeBytes(Buffer.byteLength(line) === line.length ? line : Buffer.from(line));
  }

  /** The same as bytes, or as ASCII. */
  writeBytes(line: Buffer | string): void {
    if (!this.#hasRoom(line.length)) {
      this.#dropped += 1;
      return;
    }
    this.#lines.push(line);
    this.#waits(line.length);
    this.#schedule();
  }

  #hasRoom(bytes: number): boolean {
    const waiting = this.#waitingBytes + bytes;
    if (waiting > maxWaitingBytes) return false;
    return waiting <= pieceBytes || BufferedLog.#waitingOfAll + bytes <= maxWaitingOfAll;
  }

  #waits(bytes: number): void {
    this.#waitingBytes += bytes;
    BufferedLog.#waitingOfAll += bytes;
  }

  /** Opens the file anew. @throws Error: then the old one stays in use. */
  reopen(): void {
    if (this.#open === undefined) return;
    const fresh = this.#open();
    if (this.#freshFd !== undefined) close(this.#freshFd);
    this.#freshFd = fresh;
    if (this.#writing === undefined) this.#turnToFresh();
  }

  /** Writes what is left, if it can be written soon. Nothing may be written afterwards. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#schedule();
    await inTime(this.#end(), closeLimitMs, () => {});
  }

  /** However long it takes to write what is left. */
  async #end(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    if (this.#open !== undefined) close(this.#fd);
  }

  /** What makes a piece is written now; less waits for company. */
  #schedule(): void {
    if (this.#writing !== undefined || this.#lines.length === 0) return;
    if (this.#waitingBytes >= pieceBytes || this.#isClosing) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), gatherMs);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writeWaiting().finally(() => {
      this.#writing = undefined;
      this.#schedule();
    });
  }

  /** Writes what waits now; what comes meanwhile is for the next time. */
  async #writeWaiting(): Promise<void> {
    for (let left = this.#waitingBytes; left > 0;) {
      this.#turnToFresh();
      const before = this.#waitingBytes;
      await this.#writePiece();
      left -= before - this.#waitingBytes;
    }
  }

  /** As many whole lines as are written together; before them, how many were lost. */
  async #writePiece(): Promise<void> {
    const lost = this.#dropped;
    this.#dropped = 0;
    const end = this.#isCut ? "\n" : "";
    const note = lost === 0 ? end : end + `(${lost} ${this.#what} were not logged: no room)\n`;
    const lines = this.#take(note.length);
    const piece = joined([note, ...lines]);
    for (let start = 0; start < piece.length;) {
      const count = await writeSome(this.#fd, piece.subarray(start));
      if (count === "broken") {
        if (start > 0) this.#isCut = piece[start - 1] !== newline;
        this.#dropped += lost + lines.length; // a full disk: said when there is room again
        return;
      }
      if (count === "full") await Bun.sleep(retryMs);
      else start += count;
    }
    this.#isCut = false;
  }

  #take(noteBytes: number): (Buffer | string)[] {
    const limit = this.#isPipe ? pipePieceBytes : pieceBytes;
    let count = 0;
    let bytes = 0;
    for (const line of this.#lines) {
      if (count > 0 && noteBytes + bytes + line.length > limit) break;
      count += 1;
      bytes += line.length;
    }
    this.#waits(-bytes);
    return this.#lines.splice(0, count);
  }

  #turnToFresh(): void {
    if (this.#freshFd === undefined) return;
    close(this.#fd);
    this.#fd = this.#freshFd;
    this.#isPipe = isPipe(this.#fd);
    this.#freshFd = undefined;
    this.#isCut = false;
  }
}

/** Each string is ASCII. */
function joined(parts: readonly (Buffer | string)[]): Buffer {
  const piece = Buffer.allocUnsafe(parts.reduce((bytes, { length }) => bytes + length, 0));
  let at = 0;
  for (const part of parts) {
    at += typeof part === "string" ? piece.write(part, at, "latin1") : part.copy(piece, at);
  }
  return piece;
}

function isPipe(fd: number): boolean {
  try {
    return fstatSync(fd).isFIFO();
  } catch {
    return false; // closed: writes will fail, and be dropped
  }
}

/** @returns how many bytes went out; `full`: none now, because somebody made it non-blocking. */
function writeSome(fd: number, bytes: Buffer): Promise<number | "full" | "broken"> {
  return new Promise((resolve) => {
    write(fd, bytes, 0, bytes.length, null, (error: NodeJS.ErrnoException | null, count) => {
      if (error?.code === "EAGAIN") resolve("full");
      else resolve(count > 0 ? count : "broken");
    });
  });
}
