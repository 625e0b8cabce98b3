/**
 * The server's end of an instance's lifeline (PROTOCOL section 10): the instance says once that it
 * is ready or why it is not; what it says after that its owner is given. The peer is an application
 * that anybody wrote: whatever it says that it may not ends the lifeline, and `misbehaved` says
 * why, so that its owner ends the process. No descriptors arrive here, so Bun may read it.
 */
import { putOnEventLoop } from "../../native/event-loop.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import { SyscallError } from "../../native/errno.ts";
import { receive, send } from "../../native/socket.ts";
import type { ByteString } from "../../wire/bytes.ts";
import { Decoder } from "../../wire/decoder.ts";
import { parseLifelineMessage } from "../../wire/instance-protocol.ts";
import { ProtocolError } from "../../wire/protocol-error.ts";
import { MAX_PAGE_BYTES } from "../../wire/scalar-message.ts";

/** What the instance said at its start. */
export type Announcement = Ready | { readonly kind: "failed"; readonly text: Uint8Array };

export interface Ready {
  readonly kind: "ready";
  /** Sessions it serves at once. */
  readonly concurrency: number;
  /** Whether it says `done` for each of its sessions. */
  readonly reportsDone: boolean;
}

/** Some hundred short messages; the rest comes with an event. */
const hearBytes = 4096;

export class Lifeline {
  readonly #decoder = new Decoder();
  readonly #announced = Promise.withResolvers<Announcement | undefined>();
  /**
   * The announcement; undefined when the instance's end closed before it. Rejects with a
   * ProtocolError when the instance said something else.
   */
  readonly announced = this.#announced.promise;
  readonly #closedByPeer = Promise.withResolvers<void>();
  /** Resolves when the instance's end has closed while ours was open. */
  readonly closedByPeer = this.#closedByPeer.promise;
  readonly #misbehaved = Promise.withResolvers<ProtocolError>();
  /** Resolves when something was said after the announcement that may not be. */
  readonly misbehaved = this.#misbehaved.promise;
  readonly #number: number;
  readonly #onMessage: (elements: ByteString[]) => void;
  #socket: Bun.Socket | undefined;
  #failureFollows = false;
  /** It has said why it cannot start: what else it says is of no interest. */
  #hasFailed = false;
  #isSettled = false;
  #isClosed = false;

  /**
   * Takes over our end of the socket pair.
   * @param onMessage is given what comes after `ready`. A ProtocolError that it throws ends the
   * lifeline.
   */
  constructor(end: OwnedFd, onMessage: (elements: ByteString[]) => void) {
    this.#number = end.number;
    this.#onMessage = onMessage;
    void this.#attach(end);
  }

  /** The descriptor, Bun's to read and close; undefined once an end has closed. */
  get number(): number | undefined {
    return this.#isClosed ? undefined : this.#number;
  }

  /** Takes in at once what has been said since the announcement, without waiting for an event. */
  hear(): void {
    if (this.#isSettled) this.#receive();
  }

  /** @returns whether there was something. */
  #receive(): boolean {
    if (this.#isClosed) return false;
    try {
      const said = receive(this.#number, hearBytes);
      if (typeof said === "string") return false;
      this.#onData(said);
      return true;
    } catch (error) {
      // Its end is closed, of which we hear soon.
      if (!(error instanceof SyscallError)) throw error;
      return false;
    }
  }

  /** Says something to the instance. @returns whether it had room for it. */
  tell(message: Uint8Array): boolean {
    if (this.#isClosed) return false;
    try {
      return send(this.#number, message) === message.length;
    } catch {
      return false; // Its end is closed, of which we hear soon.
    }
  }

  /**
   * Tells the instance to go. One that has ended by itself is seen to have before what it said is
   * read: why it cannot start must not be lost.
   */
  close(): void {
    while (!this.#isSettled && this.#receive());
    this.#isClosed = true;
    this.#settle(undefined);
    // Not end(), which would wait for the instance to close its end first.
    this.#socket?.terminate();
  }

  async #attach(end: OwnedFd): Promise<void> {
    try {
      const socket = await putOnEventLoop(end, {
        data: undefined,
        socket: {
          data: (_socket, chunk) => this.#onData(chunk),
          end: () => this.#onEnd(),
          close: () => this.#onEnd(),
          error: () => this.#onEnd(),
        },
      });
      this.#socket = socket;
      if (this.#isClosed) socket.terminate();
    } catch {
      this.#onEnd();
    }
  }

  #onEnd(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#settle(undefined);
    this.#closedByPeer.resolve();
  }

  #settle(announcement: Announcement | undefined): void {
    this.#isSettled = true;
    this.#announced.resolve(announcement);
  }

  #onData(chunk: Uint8Array): void {
    if (this.#isClosed || this.#hasFailed) return;
    try {
      this.#decoder.push(chunk);
      if (!this.#isSettled) this.#decode();
      if (this.#isSettled) this.#passOn();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (this.#isSettled) this.#misbehaved.resolve(error);
      this.#isSettled = true;
      this.#announced.reject(error);
      this.#socket?.terminate();
    }
  }

  #passOn(): void {
    while (!this.#isClosed && !this.#hasFailed) {
      const elements = this.#decoder.nextArray();
      if (elements === undefined) return;
      this.#onMessage(elements);
    }
  }

  #decode(): void {
    if (!this.#failureFollows) {
      const elements: ByteString[] | undefined = this.#decoder.nextArray();
      if (elements === undefined) return;
      const message = parseLifelineMessage(elements);
      if (message.kind === "ready") return this.#settle(message);
      if (message.kind === "done") throw new ProtocolError("lifeline: 'done' before 'ready'");
      this.#failureFollows = true;
    }
    const text = this.#decoder.nextScalar(MAX_PAGE_BYTES);
    if (text === undefined) return;
    this.#hasFailed = true;
    this.#settle({ kind: "failed", text });
  }
}
