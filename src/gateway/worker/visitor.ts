/**
 * Visitor: one connection, from its first byte to its end. Rules:
 * - Its requests are answered in their order, one at a time; what comes meanwhile waits, bounded.
 * - Its patience is counted here: for a head, for the pieces of a body, for the visitor to take the
 *   answer. While an application is waited for, nobody is.
 * - A FIN may mean that the visitor has only ended his side, or that he has gone: TCP does not
 *   tell. He is asked: an interim answer (102) is refused by who has gone, and so is a zero before
 *   the size of the next chunk, which means nothing to who is there (RFC 9112, 7.1).
 * - Where he may still be sending when the last answer is given, what he sends is read over for a
 *   moment: to close at once would reset the connection and take the answer from him.
 */
import type { Socket } from "bun";

import { fdOf } from "../../native/event-loop.ts";
import { peerState } from "../../native/socket.ts";
import { Connection, type VisitorEvent } from "../../http/connection.ts";
import type { Refusal } from "../../http/refusals.ts";
import type { Peer } from "../policy/forwarded.ts";
import { peerAddress } from "../policy/trusted-proxies.ts";
import { Outgoing, type OutgoingSocket } from "../bodies/outgoing.ts";
import { requestNames } from "../policy/request-fields.ts";
import type { Site } from "./site.ts";
import { Visit } from "./visit.ts";

/** Requests that have come before their turn; above it the socket is not read. */
const maxReadAheadBytes = 64 * 1024;
/** A head that takes longer is waited for, where connections are short. */
const headMomentMs = 1_000;
/** The headers of an idle one's last request are remembered for so long. */
const rememberedMs = 1_000;
/** How long a visitor is read over whose connection ends. */
const lingerMs = 2_000;
/** After the visitor's side has ended, he is asked whether he is there; then now and then. */
const askAfterMs = 500;
const askAgainMs = 15_000;
/** For who cannot be asked, as nothing may be sent to him: without a byte for so long. */
const goneAfterMs = 10_000;
const goneWithinAnswerMs = 5_000;
/** In one answer: some readers take no more than 16 digits for a size. */
const maxZeros = 6;

const processing = Buffer.from("HTTP/1.1 102 Processing\r\n\r\n");
const zero = Buffer.from("0");

export class Visitor implements OutgoingSocket {
  readonly connection: Connection;
  readonly out: Outgoing;
  readonly isPlain: boolean;
  /** Among all; theirs to write (visitors.ts). */
  place = -1;
  readonly #site: Site;
  readonly #socket: Socket<Visitor>;
  #peer: Peer | undefined;
  #visit: Visit | undefined;
  #state: "open" | "lingering" | "closed" = "open";
  /** Since when the visitor lets us wait, by performance.now(). */
  #sinceMs: number;
  /** When the head that is not whole began. */
  #headMs = 0;
  /** When his side ended, and when he was asked last. */
  #endedMs = 0;
  #askedMs = 0;
  #zeros = 0;
  /** What had been sent at the last look. */
  #lookedBytes = 0;
  #isPaused = false;
  #isAdvancing = false;
  /** What is to be done when `out` is empty. */
  #isEnding: "no" | "answer" | "sending" | "switched" = "no";

  constructor(site: Site, socket: Socket<Visitor>, isPlain: boolean) {
    this.#site = site;
    this.#socket = socket;
    this.isPlain = isPlain;
    this.#sinceMs = performance.now();
    this.connection = new Connection(requestNames, site.config.limits.maxHeaderBytes);
    this.out = new Outgoing(this, site.answerSpool);
  }

  /** Asked for once for a connection. */
  get peer(): Peer {
    this.#peer ??= {
      address: peerAddress(this.#socket.remoteAddress || undefined),
      secure: !this.isPlain,
    };
    return this.#peer;
  }

  /** For `out`. */
  get fd(): number {
    return fdOf(this.#socket);
  }

  /** Whether nothing is under way on it. */
  get isIdle(): boolean {
    return this.#visit === undefined && this.#state === "open";
  }

  /** Since when it has been idle. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /**
   * Since when it could make room for another: it is idle, or a request's head has begun and does
   * not get whole, which takes a moment as a rule. Undefined: a request is under way.
   */
  get idleSinceMs(): number | undefined {
    if (!this.isIdle) return undefined;
    return this.connection.isWithinHead ? this.#headMs + headMomentMs : this.#sinceMs;
  }

  giveWay(): void {
    if (this.isIdle) this.#close();
  }

  /** The protocol has been switched: see Visit. */
  get isSwitched(): boolean {
    return this.#visit?.isSwitched === true;
  }

  /** For `out`. */
  write(bytes: Uint8Array): number {
    const sent = this.#state === "closed" ? -1 : this.#socket.write(bytes);
    // While it is paused nothing else says so, and nobody else closes it.
    if (sent < 0) setImmediate(() => this.terminate());
    return sent;
  }

  /** For `out`. */
  goOnSoon(): void {
    setImmediate(() => this.drained());
  }

  /** Bytes have come. */
  received(bytes: Buffer): void {
    if (this.#state !== "open") return;
    this.#sinceMs = performance.now();
    this.connection.receive(bytes);
    this.advance();
  }

  /** The visitor has ended his side. */
  ended(): void {
    if (this.#state === "lingering") return this.#close();
    this.#endedMs = performance.now();
    this.connection.end();
    this.advance();
  }

  /** The connection is gone. */
  gone(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.out.close();
    const visit = this.#visit;
    this.#visit = undefined;
    visit?.visitorGone();
    this.connection.close();
    this.#site.onLeft(this);
  }

  /** The kernel takes bytes again. */
  drained(): void {
    if (this.#state === "closed") return;
    const before = this.out.sentBytes;
    try {
      this.out.drained();
    } catch (error) {
      return this.breakOff(error);
    }
    if (this.out.sentBytes > before) this.#sinceMs = performance.now();
    if (this.#isEnding !== "no" && this.out.isEmpty) this.#complete();
    else if (!this.out.isFull) this.#visit?.visitorTakes();
  }

  /** Goes on with what has come; whoever makes room for more calls it. */
  advance(): void {
    if (this.#isAdvancing || this.#state !== "open") return;
    this.#isAdvancing = true;
    try {
      while (this.#mayGoOn()) {
        const event = this.connection.next();
        if (event === undefined) break;
        this.#take(event);
      }
      this.#noteHead();
    } catch (error) {
      this.#site.options.onFailure(error, undefined);
      this.terminate();
    } finally {
      this.#isAdvancing = false;
    }
    this.#balance();
  }

  /**
   * When `out` is empty: the visit's `answer` is whole; after a switch, the instance sends nothing
   * more, or both sides have ended.
   */
  endWhenEmpty(what: "answer" | "sending" | "switched"): void {
    if (what === "answer" && !this.out.isEmpty) this.#sinceMs = performance.now();
    this.#isEnding = what;
    if (this.out.isEmpty) this.#complete();
  }

  /** For the visit: the answer cannot be given to its end, and must not look whole. */
  breakOff(error: unknown): void {
    this.#visit?.noteFailure(error);
    this.terminate();
  }

  /** Ends it, if that harms nobody: it is idle. */
  closeIfIdle(): void {
    if (this.isIdle && this.connection.isIdle) this.#close();
  }

  /** Looks whether anybody has taken too long. */
  tick(nowMs: number): void {
    if (this.#state === "lingering") {
      if (nowMs - this.#sinceMs >= lingerMs) this.#close();
      return;
    }
    if (this.#state === "closed") return;
    if (this.#isPaused) this.#lookAtPeer(nowMs);
    const visit = this.#visit;
    if (visit === undefined) return this.#tickIdle(nowMs);
    if (visit.isSwitched) return;
    visit.tick(nowMs);
    const { idleMs } = this.#site.config.limits;
    // An answer that goes on, and is taken, is a sign of life as well.
    if (this.out.sentBytes !== this.#lookedBytes) this.#sinceMs = nowMs;
    this.#lookedBytes = this.out.sentBytes;
    const isLate = idleMs > 0 && nowMs - this.#sinceMs >= idleMs;
    if (isLate && !this.out.isEmpty) {
      return this.breakOff(new Error("the visitor takes nothing of the answer"));
    }
    if (isLate && visit.awaitsVisitor) return visit.refuse(this.#site.tooSlow);
    if (this.#endedMs > 0) this.#askWhetherThere(visit, nowMs);
  }

  /** While it is paused, the event loop does not tell of the visitor's end. */
  #lookAtPeer(nowMs: number): void {
    const peer = peerState(this.fd);
    if (peer === "gone") this.terminate();
    else if (peer === "ended" && this.#endedMs === 0) this.#endedMs = nowMs;
  }

  #tickIdle(nowMs: number): void {
    const { idleMs, headMs } = this.#site.config.limits;
    const waitedMs = nowMs - this.#sinceMs;
    const isLate = idleMs > 0 && waitedMs >= idleMs;
    if (waitedMs >= rememberedMs) this.connection.forgetFields();
    if (this.connection.isWithinHead) {
      const isLateHead = headMs > 0 && nowMs - this.#headMs >= headMs;
      if (isLate || isLateHead) this.#refuse(this.#site.tooSlow);
    } else if (isLate) {
      this.#close();
    }
  }

  /** Without it an application would work for nobody, and a stuck one would never be noticed. */
  #askWhetherThere(visit: Visit, nowMs: number): void {
    const { probe } = visit;
    if (probe === "none") {
      const quietSinceMs = Math.max(this.#endedMs, this.#sinceMs);
      const limitMs = visit.hasBegun ? goneWithinAnswerMs : goneAfterMs;
      if (this.out.isEmpty && nowMs - quietSinceMs >= limitMs) this.terminate();
      return;
    }
    const sinceMs = nowMs - (this.#askedMs > 0 ? this.#askedMs : this.#endedMs);
    if (sinceMs < (this.#askedMs > 0 ? askAgainMs : askAfterMs)) return;
    if (probe === "zero") {
      if (!this.out.isEmpty || this.#zeros === maxZeros) return;
      this.#zeros += 1;
    }
    this.#askedMs = nowMs;
    this.out.bytes(probe === "zero" ? zero : processing);
    this.out.flush();
  }

  #mayGoOn(): boolean {
    return this.#state === "open" && this.#visit?.takesNoMore !== true;
  }

  #take(event: VisitorEvent): void {
    switch (event.kind) {
      case "request":
        this.#visit = new Visit(this.#site, this, event.head);
        return this.#visit.begin();
      case "data":
        return this.#visit?.received(event.bytes);
      case "end":
        return this.#visit?.uploaded();
      case "refused":
        return this.#refuse(event.refusal);
      case "left":
        if (event.within === "switched") return this.#visit?.visitorEnded();
        // Nothing that is not whole is carried out.
        return event.within === "body" ? this.terminate() : this.#close();
    }
  }

  #refuse(refusal: Refusal): void {
    if (this.#visit === undefined) {
      if (this.connection.isWithinHead) this.connection.refuse(refusal);
      this.#visit = new Visit(this.#site, this, undefined);
    }
    this.#visit.refuse(refusal);
  }

  #complete(): void {
    const what = this.#isEnding;
    this.#isEnding = "no";
    if (what === "answer") this.#completeAnswer();
    else if (what === "switched") this.#close();
    else this.#socket.shutdown();
  }

  /** The visitor has the whole answer. */
  #completeAnswer(): void {
    const now = performance.now();
    this.#visit?.over(now);
    this.#visit = undefined;
    this.#sinceMs = now;
    const { mayBringMore } = this.connection;
    if (this.connection.finish()) {
      this.#endedMs = this.connection.hasEnded ? now : 0;
      this.#askedMs = 0;
      this.#zeros = 0;
      return this.advance();
    }
    // To close before it has come would turn the end of the answer into a reset (RFC 9112, 9.6).
    if (!mayBringMore) return this.#close();
    this.#state = "lingering";
    this.#resume();
    this.#socket.shutdown();
  }

  /** When the head that is not whole has begun. */
  #noteHead(): void {
    if (!this.connection.isWithinHead) this.#headMs = 0;
    else if (this.#headMs === 0) this.#headMs = performance.now();
  }

  /** Reads on, or not: neither what waits for its turn nor a body that nobody takes may pile up. */
  #balance(): void {
    const { unreadBytes, isWithinHead } = this.connection;
    // A head has a bound of its own, which may be more.
    const isAhead = unreadBytes >= maxReadAheadBytes && !isWithinHead;
    const isFull = isAhead || this.#visit?.takesNoMore === true;
    if (isFull && !this.#isPaused && this.#state === "open") {
      this.#isPaused = true;
      this.#socket.pause();
    } else if (!isFull) {
      this.#resume();
    }
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#resume();
    // Without an argument: with one, a socket of Bun's waits for a handshake that is not over.
    this.#socket.end();
    this.gone();
  }

  /** A reset, whatever is under way: what the visitor has is not the whole. */
  terminate(): void {
    if (this.#state === "closed") return;
    this.#resume();
    this.#socket.terminate();
    this.gone();
  }
}
