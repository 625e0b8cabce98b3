/**
 * What a client is sent, in order: replies, and descriptors with the replies that announce them.
 *
 * Two ways a descriptor travels:
 * - in band (2.0): right behind its `ok`, both in one sendmmsg(2);
 * - on the descriptor channel: before its `ok`. A full channel holds back the `ok`s, nothing else.
 *
 * A full socket means a peer that does not read: what is left is queued, bounded, and tried again
 * on a short timer. A queued descriptor is owned here until it is sent or the outbox is closed.
 */
import {
  replyBytes,
  sendDescriptor,
  sendReplyWithDescriptor,
  sendWithDescriptor,
} from "../native/descriptors.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { send } from "../native/socket.ts";
import type { ByteString } from "../wire/bytes.ts";
import { encodeOk, encodeRecall, writeOk, type OkDetails } from "../wire/replies.ts";
import { RetryTimer } from "../native/retry-timer.ts";

/** Unread output that ends a client (PROTOCOL section 3). */
const maxUnreadBytes = 1024 * 1024;

/** Retries of a full socket: quick for a reader that is merely late, rare for one that sleeps. */
const firstRetryMs = 1;
const maxRetryMs = 50;

/** A peer that was given more than that at once, and takes none of it for this long, is ended. */
const stalledMs = 1000;

interface Item {
  bytes: Uint8Array;
  /** A reply to a command that can be repeated at will: it counts towards the bound at once. */
  readonly isReply: boolean;
  /** A descriptor that follows in band. */
  descriptor: OwnedFd | undefined;
}

/** A descriptor that waits for room in the channel, and the reply that announces it. */
interface Announced {
  readonly descriptor: OwnedFd;
  readonly sessionId: number;
  bytes: Uint8Array;
}

export class Outbox {
  readonly #socket: number;
  readonly #onOverflow: () => void;
  readonly #onError: (error: unknown) => void;
  readonly #queue: Item[] = [];
  readonly #announced: Announced[] = [];
  #channel: number | undefined;
  /** Whether more is about to be announced: then what announces is gathered for one send. */
  gathers = false;
  readonly #gathered: Uint8Array[] = [];
  /** Bytes of replies in the queue. */
  #unreadReplyBytes = 0;
  /** When the queue came to be or last got shorter, by performance.now(). */
  #movedAt = 0;
  #retry: RetryTimer | undefined;
  #drained: (() => void) | undefined;
  #closed = false;

  /**
   * @param socket the client's connection; stays owned by the caller.
   * @param onOverflow more than 1 MiB is unread: the client must end.
   * @param onError the peer is gone.
   */
  constructor(socket: number, onOverflow: () => void, onError: (error: unknown) => void) {
    this.#socket = socket;
    this.#onOverflow = onOverflow;
    this.#onError = onError;
  }

  /** From now on descriptors travel over this socket (owned by the caller). */
  useChannel(channel: number): void {
    this.#channel = channel;
  }

  /** Whether everything went out. */
  get empty(): boolean {
    return this.#queue.length === 0 && this.#announced.length === 0;
  }

  /** Sends a reply, and a descriptor in band behind it, whatever the channel. */
  reply(bytes: Uint8Array, descriptor?: OwnedFd): void {
    this.#inBand({ bytes, isReply: true, descriptor });
  }

  /**
   * Sends the refusal of a get, in parts that stay together. One failed spawn refuses many gets in
   * one turn, in which no peer can read: so it is judged by whether it reads afterwards.
   */
  refusal(parts: readonly Uint8Array[]): void {
    for (const bytes of parts) this.#inBand({ bytes, isReply: false, descriptor: undefined });
  }

  /** Sends what was gathered. */
  release(): void {
    this.gathers = false;
    if (this.#gathered.length === 0) return;
    const bytes = Buffer.concat(this.#gathered);
    this.#gathered.length = 0;
    this.reply(bytes);
  }

  /** Sends `ok` and a session's descriptor, which is owned here from now on. */
  session(
    pid: number,
    sessionId: number,
    tag: ByteString | undefined,
    descriptor: OwnedFd,
    more: OkDetails = {},
  ): void {
    if (this.#closed) return descriptor.close();
    if (this.#channel === undefined) {
      // Nearly always all of it goes out at once: without a queue entry, and without a buffer.
      // There is no tag: tagged gets need the channel.
      if (this.#queue.length === 0) this.#sendSession(pid, sessionId, descriptor);
      else this.reply(encodeOk(pid, sessionId, tag), descriptor);
      return;
    }
    this.#announced.push({ descriptor, sessionId, bytes: encodeOk(pid, sessionId, tag, more) });
    if (this.#announced.length === 1) this.#flushChannel();
  }

  /** Asks for a kept session: after the `ok` that names it, and never inside another reply. */
  recall(sessionId: number): void {
    const bytes = encodeRecall(sessionId);
    const heldBack = this.#announced.find((session) => session.sessionId === sessionId);
    if (heldBack === undefined) this.reply(bytes);
    else heldBack.bytes = Buffer.concat([heldBack.bytes, bytes]);
  }

  /** Sessions whose descriptors wait for room in the channel. */
  get heldBack(): number {
    return this.#announced.length;
  }

  /** Resolves when everything queued has gone out, or the outbox is closed. */
  drained(): Promise<void> {
    if (this.empty || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }

  /** Drops what is queued and closes its descriptors. */
  close(): void {
    this.release();
    this.#closed = true;
    this.#retry?.cancel();
    for (const item of this.#queue) item.descriptor?.close();
    for (const item of this.#announced) item.descriptor.close();
    this.#queue.length = 0;
    this.#announced.length = 0;
    this.#wakeDrained();
  }

  /** Sends an untagged `ok` and its descriptor on a connection with nothing before them. */
  #sendSession(pid: number, sessionId: number, descriptor: OwnedFd): void {
    const length = writeOk(replyBytes, pid, sessionId);
    try {
      const sent = sendReplyWithDescriptor(this.#socket, length, descriptor.number);
      if (sent.descriptor) descriptor.close();
      else {
        const bytes = replyBytes.slice(sent.bytes, length);
        this.#enqueue({ bytes, isReply: true, descriptor });
      }
    } catch (error) {
      descriptor.close();
      this.#fail(error);
    }
  }

  /** What is there already decides: a single reply may be larger than the bound. */
  #enqueue(item: Item): void {
    if (this.#queue.length === 0) this.#movedAt = performance.now();
    this.#queue.push(item);
    this.#armRetry();
    if (!item.isReply) return;
    if (this.#unreadReplyBytes > maxUnreadBytes) this.#onOverflow();
    else this.#unreadReplyBytes += item.bytes.length;
  }

  #inBand(item: Item): void {
    this.release();
    if (!this.#closed && this.#queue.length === 0 && this.#attempt(item)) return;
    if (this.#closed) item.descriptor?.close();
    else this.#enqueue(item);
  }

  /** Sends as much of an item as fits. @returns whether all of it went. */
  #attempt(item: Item): boolean {
    try {
      if (item.descriptor === undefined) {
        const sent = send(this.#socket, item.bytes);
        if (sent === item.bytes.length) return true;
        item.bytes = item.bytes.subarray(sent);
        return false;
      }
      if (item.bytes.length === 0) {
        if (!sendDescriptor(this.#socket, item.descriptor.number)) return false;
      } else {
        const sent = sendWithDescriptor(this.#socket, item.bytes, item.descriptor.number);
        if (!sent.descriptor) {
          item.bytes = item.bytes.subarray(sent.bytes);
          return false;
        }
      }
      item.descriptor.close();
      item.descriptor = undefined;
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  #flushChannel(): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    try {
      for (let next = this.#announced[0]; next !== undefined; next = this.#announced[0]) {
        if (!sendDescriptor(channel, next.descriptor.number)) {
          if (!this.#closed) this.#armRetry();
          return;
        }
        next.descriptor.close();
        this.#announced.shift();
        if (this.gathers) this.#gathered.push(next.bytes);
        else this.reply(next.bytes);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #flush(): void {
    if (this.#closed) return;
    let moved = false;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const before = next.bytes.length;
      const done = this.#attempt(next);
      moved ||= done || next.bytes.length < before;
      if (!done) break;
      this.#queue.shift();
    }
    if (moved) this.#retry?.reset();
    this.#judge(moved);
    this.#flushChannel();
    if (this.empty) this.#wakeDrained();
    else if (!this.#closed) this.#armRetry();
  }

  #judge(moved: boolean): void {
    let all = 0;
    this.#unreadReplyBytes = 0;
    for (const { bytes, isReply } of this.#queue) {
      all += bytes.length;
      if (isReply) this.#unreadReplyBytes += bytes.length;
    }
    if (moved) this.#movedAt = performance.now();
    else if (all > maxUnreadBytes && performance.now() - this.#movedAt > stalledMs) {
      this.#onOverflow();
    }
  }

  #armRetry(): void {
    this.#retry ??= new RetryTimer(() => this.#flush(), firstRetryMs, maxRetryMs);
    this.#retry.arm();
  }

  #wakeDrained(): void {
    this.#drained?.();
    this.#drained = undefined;
  }

  #fail(error: unknown): void {
    if (!this.#closed) this.#onError(error);
  }
}
