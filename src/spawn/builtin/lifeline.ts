/**
 * The server's end of an instance's lifeline (PROTOCOL section 10): the instance says once that it
 * is ready or why it is not, and from then on only the closing of an end means something; a
 * preloader goes on talking. No descriptors arrive here, so Bun may read it.
 */
import { putOnEventLoop } from "../../native/event-loop.ts";
import type { OwnedFd } from "../../native/owned-fd.ts";
import type { ByteString } from "../../wire/bytes.ts";
import { Decoder } from "../../wire/decoder.ts";
import { parseLifelineMessage } from "../../wire/instance-protocol.ts";
import { ProtocolError } from "../../wire/protocol-error.ts";
import { MAX_PAGE_BYTES } from "../../wire/scalar-message.ts";

/** What the instance said at its start. */
export type Announcement =
  | { readonly kind: "ready"; readonly concurrency: number; readonly reportsDone: boolean }
  | { readonly kind: "failed"; readonly text: Uint8Array };

export class Lifeline {
  readonly #decoder = new Decoder();
  readonly #announced = Promise.withResolvers<Announcement | undefined>();
  readonly #closedByPeer = Promise.withResolvers<void>();
  readonly #number: number;
  readonly #onMessage: ((elements: ByteString[]) => void) | undefined;
  #socket: Bun.Socket | undefined;
  #failureFollows = false;
  #isSettled = false;
  #isClosed = false;

  /**
   * Takes over our end of the socket pair.
   * @param onMessage is given what comes after `ready`; what it throws ends the lifeline. Absent:
   * nothing that is said later has a meaning.
   */
  constructor(end: OwnedFd, onMessage?: (elements: ByteString[]) => void) {
    this.#number = end.number;
    this.#onMessage = onMessage;
    void this.#attach(end);
  }

  /** The descriptor, Bun's to read and close; undefined once an end has closed. */
  get number(): number | undefined {
    return this.#isClosed ? undefined : this.#number;
  }

  /**
   * The announcement; undefined when the instance's end closed before it. Rejects with a
   * ProtocolError when the instance said something else.
   */
  get announced(): Promise<Announcement | undefined> {
    return this.#announced.promise;
  }

  /** Resolves when the instance's end has closed while ours was open. */
  get closedByPeer(): Promise<void> {
    return this.#closedByPeer.promise;
  }

  /** Tells the instance to go. */
  close(): void {
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
    try {
      if (!this.#isSettled) {
        this.#decoder.push(chunk);
        this.#decode();
      } else if (this.#onMessage !== undefined) {
        this.#decoder.push(chunk);
      }
      if (this.#isSettled) this.#passOn();
    } catch (error) {
      this.#isSettled = true;
      this.#announced.reject(error);
      this.#socket?.terminate();
    }
  }

  #passOn(): void {
    if (this.#onMessage === undefined) return;
    for (;;) {
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
    if (text !== undefined) this.#settle({ kind: "failed", text });
  }
}
