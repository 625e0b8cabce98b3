/**
 * Pull decoder for a stream of array and scalar messages. The stream does not say what comes next,
 * so the caller does, by what it pulls. Rules:
 * - Chunks may hold any number of messages, cut anywhere. Nothing is copied but the strings of a
 *   message, and the rest of a chunk that ends inside one.
 * - A chunk is borrowed until a pull answers `undefined`, or `keepRest` is called.
 * - A broken stream stays broken: every further pull throws the same ProtocolError.
 * - An idle decoder holds no buffer, and any input costs time linear in its length.
 */

import { asBuffer, type ByteString } from "./bytes.ts";
import { ProtocolError } from "./protocol-error.ts";

const ARRAY_HEADER_BYTES = 2;
const SCALAR_HEADER_BYTES = 4;
// What a partly received message gets at first: most commands fit.
const MIN_STORE_BYTES = 256;
const NOTHING = Buffer.alloc(0);

export class Decoder {
  #data: Buffer = NOTHING;
  #start = 0;
  #end = 0;
  /** Whether #data is memory of ours, not a chunk of the caller's. */
  #owned = true;

  /** Bytes pushed and not yet pulled. */
  get buffered(): number {
    return this.#end - this.#start;
  }

  push(chunk: Uint8Array): void {
    if (this.#start === this.#end) {
      this.#data = asBuffer(chunk);
      this.#start = 0;
      this.#end = chunk.length;
      this.#owned = false;
      return;
    }
    this.#reserve(chunk.length);
    this.#data.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** The elements of the next array message, or undefined until all of it has been pushed. */
  nextArray(): ByteString[] | undefined {
    return this.nextPayload(splitElements);
  }

  /**
   * The next array message as `read` makes it from its payload, `data[first, end)`, whose last byte
   * is a NUL; or undefined until all of it has been pushed. For who can do without strings.
   */
  nextPayload<T>(read: (data: Buffer, first: number, end: number) => T): T | undefined {
    if (this.#end - this.#start < ARRAY_HEADER_BYTES) return this.#wait();
    const first = this.#start + ARRAY_HEADER_BYTES;
    // Plain indexing: Buffer's methods of reading numbers cost more than all the rest here.
    const length = ((this.#data[first - 2] ?? 0) << 8) | (this.#data[first - 1] ?? 0);
    if (length === 0) throw new ProtocolError("array message: it is empty");
    const end = first + length;
    if (end > this.#end) return this.#wait();
    if (this.#data[end - 1] !== 0) {
      throw new ProtocolError(`array message of ${length} bytes: its last element lacks the NUL`);
    }
    const message = read(this.#data, first, end);
    this.#start = end;
    return message;
  }

  /**
   * The bytes (a copy) of the next scalar message, or undefined until all of it has been pushed.
   * One that announces more than `maxBytes` is a ProtocolError at once.
   */
  nextScalar(maxBytes: number): Uint8Array | undefined {
    if (this.#end - this.#start < SCALAR_HEADER_BYTES) return this.#wait();
    const length = this.#data.readUInt32BE(this.#start);
    if (length > maxBytes) {
      throw new ProtocolError(`scalar message of ${length} bytes: ${maxBytes} at most`);
    }
    const first = this.#start + SCALAR_HEADER_BYTES;
    const end = first + length;
    if (end > this.#end) return this.#wait();
    const scalar = new Uint8Array(this.#data.subarray(first, end));
    this.#start = end;
    return scalar;
  }

  /** All bytes not yet pulled, as a copy: for a stream that stops being messages. */
  takeRest(): Uint8Array {
    const rest = new Uint8Array(this.#data.subarray(this.#start, this.#end));
    this.#clear();
    return rest;
  }

  /** Copies the rest of the last chunk, for a caller that reuses it before it is pulled empty. */
  keepRest(): void {
    if (this.#start === this.#end) this.#clear();
    else if (!this.#owned) this.#move(Math.max(this.buffered, MIN_STORE_BYTES));
  }

  #wait(): undefined {
    this.keepRest();
    return undefined;
  }

  #clear(): void {
    this.#data = NOTHING;
    this.#start = 0;
    this.#end = 0;
    this.#owned = true;
  }

  /** Makes room for `more` bytes, doubling, so that a byte at a time stays linear. */
  #reserve(more: number): void {
    // Never true of a borrowed chunk, which is full to its end: nothing is written into it.
    if (this.#end + more <= this.#data.length) return;
    this.#move(Math.max(2 * (this.buffered + more), MIN_STORE_BYTES));
  }

  #move(capacity: number): void {
    // allocUnsafeSlow: no slice of the shared pool, all of which a slow client would keep alive.
    const store = Buffer.allocUnsafeSlow(capacity);
    this.#data.copy(store, 0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    this.#data = store;
    this.#owned = true;
  }
}

/** The elements of a payload: one string and one split cost a third of a slice for each. */
export function splitElements(data: Buffer, first: number, end: number): ByteString[] {
  return data.toString("latin1", first, end - 1).split("\0") as ByteString[];
}
