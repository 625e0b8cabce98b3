/**
 * How much the instances of one application may write to the log together. A log that is read at
 * all can take that; what is beyond it would cost other applications their turns and their lines.
 * Lines count beside bytes, since an empty one is as much work as any other.
 */

/** What passes for ever, and what passes at once after a quiet time. */
const bytesPerSecond = 2 * 1024 * 1024;
const mostBytes = 4 * 1024 * 1024;
/** Lines of 32 bytes at the lesser rate of bytes that is promised, 1 MiB; of 8 bytes at once. */
const linesPerSecond = 32 * 1024;
const mostLines = 128 * 1024;

export class OutputAllowance {
  #bytes = mostBytes;
  #lines = mostLines;
  #nowMs: number;

  /** @param nowMs monotonic milliseconds. */
  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  /** @returns whether a line of so many bytes may pass now. */
  take(bytes: number, nowMs: number): boolean {
    const seconds = (nowMs - this.#nowMs) / 1000;
    this.#nowMs = nowMs;
    this.#bytes = Math.min(mostBytes, this.#bytes + seconds * bytesPerSecond);
    this.#lines = Math.min(mostLines, this.#lines + seconds * linesPerSecond);
    if (this.#bytes < bytes || this.#lines < 1) return false;
    this.#bytes -= bytes;
    this.#lines -= 1;
    return true;
  }
}
