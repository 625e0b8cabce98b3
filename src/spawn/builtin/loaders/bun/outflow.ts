/**
 * One direction of a relay: bytes for a socket, which keeps waiting those it cannot take at once,
 * and their source with them. Runs inside instances.
 */
export interface Sink {
  /** @returns how many bytes the kernel has taken; negative: nobody is there. */
  write(bytes: Uint8Array): number;
  /** Ends this side. */
  shutdown(): void;
}

export interface Source {
  pause(): void;
  resume(): void;
}

const nothing = Buffer.alloc(0);

export class Outflow {
  readonly #source: Source;
  #sink: Sink | undefined;
  #waiting: Buffer = nothing;
  #isToEnd = false;

  /** @param sink absent: it is not there yet. */
  constructor(source: Source, sink?: Sink) {
    this.#source = source;
    this.#sink = sink;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** @param bytes lent for the time of the call. */
  write(bytes: Uint8Array): void {
    if (!this.isEmpty) {
      this.#waiting = Buffer.concat([this.#waiting, bytes]);
      return;
    }
    const written = Math.max(0, this.#sink?.write(bytes) ?? 0);
    if (written === bytes.length) return;
    this.#waiting = Buffer.from(bytes.subarray(written));
    this.#source.pause();
  }

  connected(sink: Sink): void {
    this.#sink = sink;
    this.drained();
  }

  /** The sink has room. */
  drained(): void {
    const waiting = this.#waiting;
    this.#waiting = nothing;
    if (waiting.length > 0) this.write(waiting);
    if (!this.isEmpty) return;
    if (this.#isToEnd) this.#sink?.shutdown();
    else if (waiting.length > 0) this.#source.resume();
  }

  /** No more comes. */
  end(): void {
    this.#isToEnd = true;
    if (this.isEmpty) this.#sink?.shutdown();
  }
}
