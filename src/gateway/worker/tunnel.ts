/**
 * After a switch of protocols: bytes both ways between a visitor and an instance, each way as fast
 * as it is taken, until both sides have ended. Either may end its own before: the other hears of it
 * and goes on. From the instance bytes come by way of the visit; this is about the other way, and
 * the end.
 */
import type { Asking } from "../../parent/asking.ts";
import type { Visitor } from "./visitor.ts";

export class Tunnel {
  readonly #visitor: Visitor;
  readonly #asking: Asking;
  /** The visitor's bytes that the instance has not taken. */
  #rest: Uint8Array | undefined;
  #visitorHasEnded = false;
  #instanceHasEnded = false;

  constructor(visitor: Visitor, asking: Asking) {
    this.#visitor = visitor;
    this.#asking = asking;
  }

  /** Whether the visitor should send no more for now. */
  get isFull(): boolean {
    return this.#rest !== undefined;
  }

  fromVisitor(bytes: Uint8Array): void {
    const sent = this.#asking.write(bytes);
    if (sent >= 0 && sent < bytes.length) this.#rest = bytes.slice(sent);
  }

  /** The instance takes bytes again. */
  drained(): void {
    const rest = this.#rest;
    if (rest === undefined) return;
    this.#rest = undefined;
    this.fromVisitor(rest);
    if (this.#rest !== undefined) return;
    if (this.#visitorHasEnded) this.#asking.endWriting();
    this.#visitor.advance();
  }

  visitorEnded(): void {
    this.#visitorHasEnded = true;
    if (this.#instanceHasEnded) return this.#visitor.endWhenEmpty("switched");
    if (this.#rest === undefined) this.#asking.endWriting();
  }

  /** Told twice, the stream is gone both ways. */
  instanceEnded(): void {
    if (this.#instanceHasEnded || this.#visitorHasEnded) {
      return this.#visitor.endWhenEmpty("switched");
    }
    this.#instanceHasEnded = true;
    this.#visitor.endWhenEmpty("sending");
  }
}
