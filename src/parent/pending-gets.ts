/**
 * Gets that have no answer yet: sent ones by their tag, and those held back because enough are
 * sent. The server ends a client with more than 1,000 commands or 256 KiB waiting, so what is sent
 * is bounded; and bounded for each application, so that one whose gets are not answered (its start
 * hangs) leaves room for the others. Held gets go out in their order for each application,
 * applications in turn. Nothing here sends or knows a socket: the connection passes in how.
 */
import { IdTable } from "../wire/id-table.ts";
import type { Application } from "./application.ts";
import type { Session } from "./session.ts";

/** Of the server's 1,000; the rest is for other commands. */
const maxSent = 600;
const maxSentPerApplication = 200;
const maxSentBytes = 128 * 1024;
/** Gets held back; past this the parent itself asks for more than anyone can serve. */
const maxHeld = 100_000;

export interface PendingGet {
  readonly application: Application;
  /** `getKept`: its session may be kept for further requests. */
  readonly command: "getTagged" | "getKept";
  /** Of `getKept`: what leads to the instance that it would go on with; undefined: any will do. */
  readonly token?: string | undefined;
  readonly resolve: (session: Session) => void;
  readonly reject: (error: unknown) => void;
  /** Its number, which is its tag, and the size of its command; both 0 until it is sent. */
  id: number;
  bytes: number;
  /** Stops listening for an abort; set only if there is a signal. */
  detach?: () => void;
}

interface ApplicationGets {
  readonly root: string;
  sent: number;
  /** In order; a Set so that one that is aborted leaves at once. */
  readonly held: Set<PendingGet>;
}

export class PendingGets {
  readonly #send: (frame: Uint8Array) => void;
  #sent = new IdTable<number, PendingGet>();
  /** Applications with gets here. */
  readonly #lines = new Map<string, ApplicationGets>();
  /** Those with held ones, the one whose turn is next first. */
  readonly #heldLines = new Set<ApplicationGets>();
  #heldCount = 0;
  #sentBytes = 0;
  #lastId = 0;

  constructor(send: (frame: Uint8Array) => void) {
    this.#send = send;
  }

  get hasRoom(): boolean {
    return this.#heldCount < maxHeld;
  }

  /** Sends a get, or holds it until it may be sent. */
  add(get: PendingGet): void {
    const line = this.#lineOf(get);
    if (line.held.size === 0 && this.#maySend(line)) {
      this.#dispatch(get, line);
      return;
    }
    line.held.add(get);
    this.#heldLines.add(line);
    this.#heldCount += 1;
  }

  /** Takes the get out that a reply's tag names; undefined if nobody waits for it any more. */
  answered(tag: string): PendingGet | undefined {
    const get = this.#sent.get(Number(tag));
    if (get !== undefined) this.#leave(get);
    return get;
  }

  /** Takes a get out that is wanted no more. @returns whether the server has to be told. */
  withdraw(get: PendingGet): boolean {
    if (this.#sent.get(get.id) !== undefined) {
      this.#leave(get);
      return true;
    }
    const line = this.#lineOf(get);
    this.#unhold(get, line);
    this.#forgetIfEmpty(line);
    return false;
  }

  takeAll(): PendingGet[] {
    const all = this.#sent.values().toSorted((a, b) => a.id - b.id);
    for (const line of this.#heldLines) all.push(...line.held);
    this.#sent = new IdTable();
    this.#lines.clear();
    this.#heldLines.clear();
    for (const get of all) get.detach?.();
    return all;
  }

  #lineOf(get: PendingGet): ApplicationGets {
    const { root } = get.application;
    const known = this.#lines.get(root);
    if (known !== undefined) return known;
    const line: ApplicationGets = { root, sent: 0, held: new Set() };
    this.#lines.set(root, line);
    return line;
  }

  #dispatch(get: PendingGet, line: ApplicationGets): void {
    this.#lastId += 1;
    get.id = this.#lastId;
    const frame = get.application.encodeGet(String(get.id), get.command, get.token);
    get.bytes = frame.length;
    line.sent += 1;
    this.#sentBytes += frame.length;
    this.#sent.add(get);
    this.#send(frame);
  }

  #leave(get: PendingGet): void {
    this.#sent.delete(get.id);
    this.#sentBytes -= get.bytes;
    get.detach?.();
    const line = this.#lineOf(get);
    line.sent -= 1;
    if (this.#heldLines.size > 0) this.#sendHeld();
    this.#forgetIfEmpty(line);
  }

  /** Sends held gets while there is room: one of each application that has some, over and over. */
  #sendHeld(): void {
    // A line put at the end comes up again in this very loop.
    for (const line of this.#heldLines) {
      if (this.#windowIsFull()) return;
      const [next] = line.held;
      if (next === undefined || !this.#maySend(line)) continue;
      this.#unhold(next, line);
      this.#dispatch(next, line);
      if (this.#heldLines.delete(line)) this.#heldLines.add(line);
    }
  }

  #unhold(get: PendingGet, line: ApplicationGets): void {
    if (!line.held.delete(get)) return;
    this.#heldCount -= 1;
    if (line.held.size === 0) this.#heldLines.delete(line);
  }

  #forgetIfEmpty(line: ApplicationGets): void {
    if (line.sent === 0 && line.held.size === 0) this.#lines.delete(line.root);
  }

  #maySend(line: ApplicationGets): boolean {
    return line.sent < maxSentPerApplication && !this.#windowIsFull();
  }

  #windowIsFull(): boolean {
    return this.#sent.size >= maxSent || this.#sentBytes >= maxSentBytes;
  }
}
