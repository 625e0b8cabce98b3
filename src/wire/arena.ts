/**
 * Where what goes out is put together: one piece of memory for many small parts, so that a head and
 * its body are one system call. What is taken must be written before anything else is put in; all
 * of that happens within one turn of the event loop.
 */

/** The largest head (128 KiB), and as much of a body as is worth copying. */
const capacityBytes = 256 * 1024;

export class Arena {
  readonly #bytes = Buffer.allocUnsafeSlow(capacityBytes);
  #length = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  hasRoom(bytes: number): boolean {
    return this.#length + bytes <= capacityBytes;
  }

  /** Each character is one byte. */
  putText(text: string): void {
    this.#length += this.#bytes.write(text, this.#length, "latin1");
  }

  put(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** All that is in it; it is empty then. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return taken;
  }
}
