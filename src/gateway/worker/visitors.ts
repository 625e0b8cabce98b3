/**
 * All connections of a worker: how they come, how many there may be, and how they end. Rules:
 * - As many as the limit of descriptors leaves room for: each may need a session and a file beside.
 *   One more takes the place of the one that has been idle longest, or for whose request's head
 *   has been waited longest; where there is none, it is answered 503. So no descriptor is ever
 *   short, which would have the event loop spin over connections that wait to be accepted.
 * - One clock for all of them, which stops while there are none.
 * - While they drain, idle ones are closed or kept until their next request, as is asked for.
 */
import type { Socket, SocketListener } from "bun";

import type { OwnedFd } from "../../native/owned-fd.ts";
import type { Certificates } from "./tls.ts";
import type { Site } from "./site.ts";
import { Visitor } from "./visitor.ts";

/** A fraction of the shortest time that means something here. */
const tickMs = 100;
/** How many idle ones are looked at for the one that was so longest. */
const maxLooks = 1000;

const full = Buffer.from(
  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n" +
    "Connection: close\r\n\r\n",
);

export class Visitors {
  readonly #site: Site;
  readonly #max: number;
  /** Each at its place. No Set, whose past keeps those that have left from the collector. */
  readonly #all: Visitor[] = [];
  readonly #listeners: SocketListener<Visitor>[] = [];
  #clock: ReturnType<typeof setInterval> | undefined;

  readonly #handlers = (isPlain: boolean) => ({
    open: (socket: Socket<Visitor>) => this.#opened(socket, isPlain),
    data: (socket: Socket<Visitor>, bytes: Buffer) => socket.data?.received(bytes),
    drain: (socket: Socket<Visitor>) => socket.data?.drained(),
    end: (socket: Socket<Visitor>) => socket.data?.ended(),
    close: (socket: Socket<Visitor>) => socket.data?.gone(),
    // With it `open` comes before the handshake: who does not end that is counted, too.
    handshake: () => {},
    // A reset, or a handshake that failed; close follows.
    error: () => {},
  });

  /** @param max connections at a time. */
  constructor(site: Site, max: number) {
    this.#site = site;
    this.#max = max;
    site.onLeft = (visitor) => this.#left(visitor);
  }

  get size(): number {
    return this.#all.length;
  }

  /** Accepts on a listening socket, which it takes over. @throws Error. */
  listen(listener: OwnedFd, certificates: Certificates | undefined): SocketListener<Visitor> {
    const socket = this.#handlers(certificates === undefined);
    const options = { fd: listener.take(), allowHalfOpen: true, socket };
    const tls = certificates === undefined ? {} : { tls: certificates.options };
    // Bun's types know no listener on a descriptor; Bun does.
    const listening = Bun.listen<Visitor>({ ...options, ...tls } as never) as never;
    certificates?.chooseOn(listening);
    this.#listeners.push(listening);
    return listening;
  }

  /** Accepts no more. */
  stop(): void {
    for (const listener of this.#listeners.splice(0)) listener.stop(false);
  }

  /** Closes those on which nothing has been under way for so long. */
  closeIdle(idleMs: number): void {
    const sinceMs = performance.now() - idleMs;
    this.#each((visitor) => {
      if (visitor.sinceMs <= sinceMs) visitor.closeIfIdle();
    });
  }

  /** Ends all whose protocol was not switched. */
  closeRequests(): void {
    this.#each((visitor) => {
      if (!visitor.isSwitched) visitor.terminate();
    });
  }

  /** Ends those whose protocol was switched. */
  closeSwitched(): void {
    this.#each((visitor) => {
      if (visitor.isSwitched) visitor.terminate();
    });
  }

  /** Ends all of them, whatever is under way. */
  close(): void {
    this.stop();
    this.#each((visitor) => visitor.terminate());
  }

  #opened(socket: Socket<Visitor>, isPlain: boolean): void {
    if (this.size >= this.#max && !this.#makeRoom()) {
      if (isPlain) socket.write(full);
      socket.end();
      return;
    }
    const visitor = new Visitor(this.#site, socket, isPlain);
    socket.data = visitor;
    visitor.place = this.#all.push(visitor) - 1;
    this.#clock ??= setInterval(() => this.#tick(), tickMs);
  }

  #left(visitor: Visitor): void {
    const last = this.#all.pop();
    if (last !== undefined && last !== visitor) {
      this.#all[visitor.place] = last;
      last.place = visitor.place;
    }
    if (this.size > 0) return;
    clearInterval(this.#clock);
    this.#clock = undefined;
  }

  /** Closes the one that has been idle longest. @returns whether there was one. */
  #makeRoom(): boolean {
    let longest: Visitor | undefined;
    let longestMs = performance.now();
    let looks = 0;
    for (const visitor of this.#all) {
      const { idleSinceMs } = visitor;
      if (idleSinceMs === undefined) continue;
      if (idleSinceMs <= longestMs) [longest, longestMs] = [visitor, idleSinceMs];
      looks += 1;
      if (looks >= maxLooks) break;
    }
    longest?.giveWay();
    return this.size < this.#max;
  }

  #tick(): void {
    const nowMs = performance.now();
    this.#each((visitor) => visitor.tick(nowMs));
  }

  /** From the last to the first: who gets the place of one that leaves has had his turn. */
  #each(act: (visitor: Visitor) => void): void {
    for (let place = this.size - 1; place >= 0; place -= 1) {
      const visitor = this.#all[place];
      if (visitor !== undefined) act(visitor);
    }
  }
}
