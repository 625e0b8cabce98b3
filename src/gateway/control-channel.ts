/**
 * What the supervisor and a worker tell each other: JSON, one message a line, over a socket pair.
 * Its EOF means that the other process is gone, which is all a worker needs to know to leave. A
 * worker parses what strangers send: what it says is bounded, and believed only in the few forms
 * there are (`fromWorker`).
 */
import type { Socket } from "bun";

import { fdOf, putOnEventLoop } from "../native/event-loop.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { SendBuffer } from "../parent/send-buffer.ts";
import { figureCount } from "../wire/request-figures.ts";
import type { GatewayConfig } from "./config.ts";

/** A listening socket that a worker inherits. */
export interface PassedListener {
  readonly descriptor: number;
  readonly tls: boolean;
}

export type ToWorker =
  | {
      readonly kind: "serve";
      readonly config: GatewayConfig;
      readonly listeners: readonly PassedListener[];
    }
  /** Accept nothing more, and leave when the requests under way are done. */
  | {
      readonly kind: "drain";
      readonly limitMs: number;
      /** Whether connections without a request may stay for a next one, until the limit. */
      readonly keepIdle: boolean;
    }
  /** Applications by name whose requests wait from now on, or are refused; all others go on. */
  | { readonly kind: "pauses"; readonly pauses: Readonly<Record<string, "wait" | "refuse">> }
  /** An application is to be restarted: no old process of it has a further request. */
  | { readonly kind: "restart"; readonly app: string }
  /** The file of the access log has come anew. */
  | { readonly kind: "reopenLogs" }
  /** To be answered at once. */
  | { readonly kind: "ping" }
  /** To be answered with what has been counted since. */
  | { readonly kind: "figures" };

/** Rows of request-figures.ts by the applications' names; `""`: requests that found none. */
export type ToldFigures = readonly (readonly [name: string, row: readonly number[]])[];

/** How many sessions without a request are kept, by the processes of their instances. */
export type IdleSessions = readonly (readonly [pid: number, count: number])[];

export type ToSupervisor =
  /** It serves; `unfenced`: without a fence around it, and why. */
  | { readonly kind: "ready"; readonly unfenced?: string | undefined }
  | { readonly kind: "failed"; readonly why: string }
  /** It has been asked to leave by somebody else: it serves until it is told to drain. */
  | { readonly kind: "leaves" }
  | { readonly kind: "pong" }
  | WorkerFigures;

/** What a worker has counted, and keeps. */
export interface WorkerFigures {
  readonly kind: "figures";
  readonly apps: ToldFigures;
  readonly idle: IdleSessions;
  /** Unasked, because it ends now. */
  readonly isLast: boolean;
}

/**
 * The largest configuration fits as JSON: a file of 1 MiB with 10,000 applications, each with some
 * 450 bytes of names and defaults, and as many certificates as may be (cli/tls-settings.ts).
 */
const maxToWorkerBytes = 48 * 1024 * 1024;
/** Figures of 10,000 applications, each with its name and some of 37 numbers above 0. */
const maxFromWorkerBytes = 4 * 1024 * 1024;
const maxWhyCharacters = 500;

/** How one side reads what the other says. */
export interface Reading<In> {
  readonly maxBytes: number;
  /** The message that a value is; undefined: none. */
  readonly parse: (value: unknown) => In | undefined;
}

/** What a worker hears is what its supervisor has made. */
export const fromSupervisor: Reading<ToWorker> = {
  maxBytes: maxToWorkerBytes,
  parse: (value) => value as ToWorker,
};

/** What the supervisor hears. */
export const fromWorker: Reading<ToSupervisor> = {
  maxBytes: maxFromWorkerBytes,
  parse: (value) => {
    const { kind, unfenced, why, apps, idle, isLast } = Object(value) as Record<string, unknown>;
    switch (kind) {
      case "ready":
        return { kind, unfenced: text(unfenced) };
      case "leaves":
      case "pong":
        return { kind };
      case "failed":
        return { kind, why: text(why) ?? "it does not say why" };
      case "figures":
        if (!isListOf(apps, isFigures) || !isListOf(idle, isIdle)) return undefined;
        return { kind, apps, idle, isLast: isLast === true };
      default:
        return undefined;
    }
  },
};

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value.slice(0, maxWhyCharacters) : undefined;
}

function isListOf<T>(value: unknown, isOne: (one: unknown) => one is T): value is T[] {
  return Array.isArray(value) && value.every(isOne);
}

function isIdle(value: unknown): value is IdleSessions[number] {
  return Array.isArray(value) && value.length === 2 && value.every(isFigure);
}

function isFigure(n: unknown): n is number {
  return typeof n === "number" && n >= 0 && n <= Number.MAX_SAFE_INTEGER;
}

function isFigures(value: unknown): value is ToldFigures[number] {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [name, row] = value as unknown[];
  if (typeof name !== "string" || !Array.isArray(row) || row.length !== figureCount) return false;
  return row.every(isFigure);
}

interface ChannelHandlers<In> {
  message(message: In): void;
  /** The other process is gone, or, if there is a `why`, has said what it should not. Once. */
  closed(why?: string): void;
}

export class ControlChannel<In, Out> {
  readonly #reading: Reading<In>;
  readonly #handlers: ChannelHandlers<In>;
  readonly #unsent = new SendBuffer(() => this.#end("it does not read"), maxToWorkerBytes);
  #socket: Socket<ControlChannel<In, Out>> | undefined;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #closed = false;

  private constructor(reading: Reading<In>, handlers: ChannelHandlers<In>) {
    this.#reading = reading;
    this.#handlers = handlers;
  }

  /** Puts one end of the pair on the event loop; owns it from then on. */
  static async open<In, Out>(
    fd: OwnedFd,
    reading: Reading<In>,
    handlers: ChannelHandlers<In>,
  ): Promise<ControlChannel<In, Out>> {
    const channel = new ControlChannel<In, Out>(reading, handlers);
    channel.#socket = await putOnEventLoop(fd, {
      data: channel,
      socket: {
        data: (socket, chunk) => socket.data.#receive(chunk),
        drain: (socket) => socket.data.#unsent.drained(socket),
        close: (socket) => socket.data.#end(),
        error: () => {}, // close follows
      },
    });
    return channel;
  }

  /** Sends a message; to a process that is gone, nothing happens. */
  send(message: Out): void {
    if (this.#socket === undefined || this.#closed) return;
    this.#unsent.push(Buffer.from(`${JSON.stringify(message)}\n`), this.#socket);
  }

  /** The descriptor, which stays the event loop's; undefined: the channel has ended. */
  get descriptor(): number | undefined {
    if (this.#socket === undefined || this.#closed) return undefined;
    return fdOf(this.#socket);
  }

  close(): void {
    if (this.#socket === undefined) return;
    this.#unsent.flush(this.#socket);
    this.#socket.end();
  }

  #receive(chunk: Buffer): void {
    let rest = chunk;
    for (let end = rest.indexOf(10); end >= 0 && !this.#closed; end = rest.indexOf(10)) {
      this.#receivedBytes += end;
      if (this.#receivedBytes > this.#reading.maxBytes) return this.#refuse();
      const line = Buffer.concat([...this.#received, rest.subarray(0, end)]);
      this.#received = [];
      this.#receivedBytes = 0;
      rest = rest.subarray(end + 1);
      const message = this.#read(line);
      if (message === undefined) return this.#refuse();
      this.#handlers.message(message);
    }
    if (rest.length === 0 || this.#closed) return;
    this.#received.push(Buffer.from(rest));
    this.#receivedBytes += rest.length;
    if (this.#receivedBytes > this.#reading.maxBytes) this.#refuse();
  }

  #read(line: Buffer): In | undefined {
    try {
      return this.#reading.parse(JSON.parse(line.toString("utf8")));
    } catch {
      return undefined;
    }
  }

  #refuse(): void {
    this.#end("it says what means nothing here");
  }

  #end(why?: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#received = [];
    if (why !== undefined) this.#socket?.end();
    this.#handlers.closed(why);
  }
}
