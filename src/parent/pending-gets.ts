/**
 * Gets that have no answer yet: sent ones by their tag, and those held back because enough are
 * sent. The server ends a client with more than 1,000 commands or 256 KiB waiting; half of each is
 * our window. Nothing here sends or knows a socket: the connection passes in how.
 */
import type { Application } from "./application.ts";
import type { Session } from "./session.ts";

const maxSentGets = 500;
const maxSentBytes = 128 * 1024;
/** Gets held back; past this the parent itself asks for more than anyone can serve. */
const maxHeldGets = 100_000;

export interface PendingGet {
  readonly application: Application;
  readonly resolve: (session: Session) => void;
  readonly reject: (error: unknown) => void;
  /** Its tag and the size of its command, once sent. */
  tag: string;
  bytes: number;
  /** Stops listening for an abort; set only if there is a signal. */
  detach?: () => void;
}

export class PendingGets {
  readonly #sent = new Map<string, PendingGet>();
  /** In order; a Set so that one that is aborted leaves at once. */
  readonly #held = new Set<PendingGet>();
  #sentBytes = 0;
  #lastTag = 0;

  /** Whether one more may be added. */
  get hasRoom(): boolean {
    return this.#held.size < maxHeldGets;
  }

  /** Sends a get, or holds it until there is room in the window. */
  add(get: PendingGet, send: (frame: Uint8Array) => void): void {
    if (this.#windowIsFull()) this.#held.add(get);
    else this.#send(get, send);
  }

  /** Takes the get out that a reply's tag names; undefined if nobody waits for it any more. */
  answered(tag: string, send: (frame: Uint8Array) => void): PendingGet | undefined {
    const get = this.#sent.get(tag);
    if (get !== undefined) this.#leave(get, send);
    return get;
  }

  /** Takes a get out that is wanted no more. @returns whether the server has to be told. */
  withdraw(get: PendingGet, send: (frame: Uint8Array) => void): boolean {
    if (this.#held.delete(get) || !this.#sent.has(get.tag)) return false;
    this.#leave(get, send);
    return true;
  }

  /** Takes all of them out. */
  takeAll(): PendingGet[] {
    const all = [...this.#sent.values(), ...this.#held];
    this.#sent.clear();
    this.#held.clear();
    for (const get of all) get.detach?.();
    return all;
  }

  #leave(get: PendingGet, send: (frame: Uint8Array) => void): void {
    this.#sent.delete(get.tag);
    this.#sentBytes -= get.bytes;
    get.detach?.();
    for (const next of this.#held) {
      if (this.#windowIsFull()) return;
      this.#held.delete(next);
      this.#send(next, send);
    }
  }

  #send(get: PendingGet, send: (frame: Uint8Array) => void): void {
    this.#lastTag += 1;
    get.tag = String(this.#lastTag);
    const frame = get.application.encodeGet(get.tag);
    get.bytes = frame.length;
    this.#sentBytes += frame.length;
    this.#sent.set(get.tag, get);
    send(frame);
  }

  #windowIsFull(): boolean {
    return this.#sent.size >= maxSentGets || this.#sentBytes >= maxSentBytes;
  }
}
