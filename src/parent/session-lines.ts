/**
 * SessionLines: the sessions of one connection that may serve more than one request (PROTOCOL
 * section 11), by application, and the clock they and the requests share. Whether the server's
 * instances know of kept sessions is asked once: where its spawner is its own. Where not, every
 * request gets a session of its own in the same way.
 */
import { IdTable } from "../wire/id-table.ts";
import type { Application } from "./application.ts";
import { BusyError } from "./errors.ts";
import type { Guardian } from "./orphans.ts";
import type { PendingGet } from "./pending-gets.ts";
import type { PooledRequest } from "./pooled-request.ts";
import { type EndReason, getOf } from "./refusals.ts";
import { type LineHost, SessionLine, type SessionWaiter } from "./session-line.ts";
import type { SessionStream } from "./session-stream.ts";

/** The only clock: a fraction of how long a session is kept. */
const tickMs = 25;
/** Requests that may wait; past this the parent itself asks for more than anyone can serve. */
const maxWaiting = 100_000;

interface SessionLinesHost extends Pick<LineHost, "ask" | "withdraw"> {
  /** Says `keep`: a request is under way on the recalled session. */
  keep(sessionId: number): void;
}

interface OpenStream {
  readonly id: number;
  readonly stream: SessionStream;
  readonly line: SessionLine;
}

export class SessionLines implements LineHost {
  readonly command: PendingGet["command"];
  readonly ask: LineHost["ask"];
  readonly withdraw: LineHost["withdraw"];
  waiting = 0;
  /**
   * Whether what is found of restart.txt holds for a turn of the event loop: where all requests
   * come from elsewhere, those of a turn have come before it began. A program that asks by itself
   * may touch the file between two of them.
   */
  sharesLooks = false;
  guardian: Guardian | undefined;
  readonly #host: SessionLinesHost;
  /** By root, and by the token of those who go on with an instance. */
  readonly #lines = new Map<string, SessionLine>();
  /** By session. */
  readonly #streams = new IdTable<number, OpenStream>();
  /** Requests without an answer. */
  readonly #requests = new IdTable<number, PooledRequest>();
  #timer: Timer | undefined;
  #ended: EndReason | undefined;

  /** @param isKept whether the server's instances know of kept sessions. */
  constructor(host: SessionLinesHost, isKept: boolean) {
    this.#host = host;
    this.ask = host.ask;
    this.withdraw = host.withdraw;
    this.command = isKept ? "getKept" : "getTagged";
  }

  serve(application: Application, request: PooledRequest): void {
    if (this.#requests.size >= maxWaiting) {
      const what = getOf(application);
      return request.failed(new BusyError(`${what}: too many requests wait on this connection`));
    }
    this.#requests.add(request);
    this.tickOn();
    request.begin();
  }

  /** For requests, and for front ends with a machine of their own. */
  take(application: Application, waiter: SessionWaiter): void {
    this.tickOn();
    const name = nameOf(application, waiter);
    let line = this.#lines.get(name);
    if (line === undefined) {
      line = new SessionLine(application, this, waiter.token);
      if (this.#ended !== undefined) line.end(this.#ended);
      this.#lines.set(name, line);
    }
    line.take(application, waiter);
  }

  leave(application: Application, waiter: SessionWaiter): void {
    this.#lines.get(nameOf(application, waiter))?.leave(waiter);
  }

  countOf(root: string): number {
    return this.#lines.get(root)?.sessions ?? 0;
  }

  /** Who has waited longest and takes a session that has served others; he waits no more. */
  next(root: string): SessionWaiter | undefined {
    return this.#lines.get(root)?.next();
  }

  /** Sessions without a request, by the processes of their instances. */
  idleByProcess(): Map<number, number> {
    const idle = new Map<number, number>();
    for (const line of this.#lines.values()) {
      for (const { session } of line.idle) idle.set(session.pid, (idle.get(session.pid) ?? 0) + 1);
    }
    return idle;
  }

  settled(request: PooledRequest): void {
    this.#requests.delete(request.id);
  }

  /** The pool wants a session back. One that is not here any more needs no answer. */
  recall(sessionId: number): void {
    const known = this.#streams.get(sessionId);
    if (known?.line.recall(known.stream) === true) this.#host.keep(sessionId);
  }

  /** For lines, as is `closed`. */
  opened(stream: SessionStream, line: SessionLine): void {
    this.#streams.add({ id: stream.session.id, stream, line });
  }

  closed(stream: SessionStream): void {
    this.#streams.delete(stream.session.id);
  }

  /** The connection has ended: requests that have a session go on, all else ends. */
  end(why: EndReason): void {
    this.#ended = why;
    for (const line of this.#lines.values()) line.end(why);
  }

  /** Starts the clock; it stops by itself when nothing is left to do. */
  tickOn(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#tick(), tickMs);
    // The connection keeps the process alive, or does not; the clock has no say.
    this.#timer.unref();
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const request of this.#requests.values()) {
      if (this.#requests.get(request.id) !== undefined) request.tick(nowMs);
    }
    let isQuiet = this.#requests.size === 0;
    for (const [root, line] of this.#lines) {
      line.tick(nowMs);
      if (line.isEmpty) this.#lines.delete(root);
      else if (line.needsTicks) isQuiet = false;
    }
    if (!isQuiet) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function nameOf({ root }: Application, { token }: SessionWaiter): string {
  return token === undefined ? root : `${root}\0${token}`;
}
