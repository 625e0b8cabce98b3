/**
 * The wake loop: every byte on the wake socket (descriptor 3) is answered with a connection.
 *
 * The count is exact. Bytes are only counted when they arrive; connections are made one at a time,
 * so that a parent that writes thousands and reads none costs a number here, not descriptors. It
 * answers before there is a server, so little is loaded with it; that is given the connections. A
 * full socket and a lack of descriptors are tried again on a timer. Its end is the server's end.
 */
import { sendDescriptor } from "../native/descriptors.ts";
import { putOnEventLoop } from "../native/event-loop.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { socketPair } from "../native/socket.ts";
import type { Log } from "../logging/log.ts";
import { RetryTimer } from "../native/retry-timer.ts";
import { causeText } from "../wire/cause.ts";
import { isDescriptorShortage } from "./spare-descriptor.ts";

const firstRetryMs = 1;
const maxRetryMs = 50;

/** Connections that are made before there is a server; further bytes wait for it. */
const maxEarly = 16;

interface WakeOwner {
  readonly log: Log;
  /** A client's connection: the server's end, owned by the callee. */
  readonly onConnection: (fd: OwnedFd) => void;
  /** Every process that held the other end is gone. */
  readonly onEnd: () => void;
}

export class WakeLoop {
  readonly #descriptor: OwnedFd;
  readonly #fd: number;
  readonly #retry = new RetryTimer(() => this.#answer(), firstRetryMs, maxRetryMs);
  #owner: WakeOwner | undefined;
  /** Connections that it has yet to be given. */
  #early: OwnedFd[] = [];
  #started: Promise<void> | undefined;
  #socket: Bun.Socket | undefined;
  /** Wake bytes not yet answered. */
  #owed = 0;
  /** A pair that waits for room in the socket's buffer. */
  #ready: [ours: OwnedFd, theirs: OwnedFd] | undefined;
  /** The last attempt failed: once is enough to say so. */
  #failing = false;
  #closed = false;
  /** Its other end is gone. */
  #isOver = false;

  /** @param socket the server's end of the pair the parent holds; owned by the wake loop. */
  constructor(socket: OwnedFd) {
    this.#descriptor = socket;
    this.#fd = socket.number;
  }

  /** Puts the wake socket on the event loop, once. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    this.#socket = await putOnEventLoop(this.#descriptor, {
      data: undefined,
      socket: {
        data: (_socket, chunk) => {
          this.#owed += chunk.length;
          this.#answer();
        },
        close: () => this.#end(),
        error: () => this.#end(),
      },
    });
    if (this.#closed) this.#socket.terminate();
  }

  /** There is a server: it is given what has come by now, and all that comes. */
  serve(owner: WakeOwner): void {
    this.#owner = owner;
    for (const fd of this.#early.splice(0)) owner.onConnection(fd);
    if (this.#isOver) owner.onEnd();
    else this.#answer();
  }

  /** Whether anybody can have been answered. */
  get hasStarted(): boolean {
    return this.#socket !== undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#retry.cancel();
    for (const fd of this.#ready ?? []) fd.close();
    this.#ready = undefined;
    for (const fd of this.#early.splice(0)) fd.close();
    if (this.#started === undefined) this.#descriptor.close();
    else this.#socket?.terminate();
  }

  #end(): void {
    if (this.#closed) return;
    this.#isOver = true;
    this.#owner?.onEnd();
  }

  #answer(): void {
    if (this.#closed || this.#isOver) return;
    try {
      while (this.#owed > 0 && (this.#owner !== undefined || this.#early.length < maxEarly)) {
        this.#ready ??= socketPair();
        const [ours, theirs] = this.#ready;
        if (!sendDescriptor(this.#fd, theirs.number)) {
          this.#retry.arm();
          return;
        }
        this.#ready = undefined;
        this.#owed -= 1;
        theirs.close();
        if (this.#owner === undefined) this.#early.push(ours);
        else this.#owner.onConnection(ours);
        this.#retry.reset();
      }
      this.#failing = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const log = this.#owner?.log;
    const fields = { waiting: this.#owed, cause: causeText(error) };
    if (this.#failing) log?.event(4, "wake socket", fields);
    else if (isDescriptorShortage(error)) {
      log?.event(0, "no descriptor is free for a new client", fields);
    } else log?.event(2, "wake socket", fields);
    this.#failing = log !== undefined;
    // If the parent is gone, the end of the socket follows and ends this too.
    this.#retry.arm();
  }
}
