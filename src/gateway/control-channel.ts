/**
 * What the supervisor and a worker tell each other: JSON, one message a line, over a socket pair.
 * Its EOF means that the other process is gone, which is all a worker needs to know to leave.
 */
import type { Socket } from "bun";

import { putOnEventLoop } from "../native/event-loop.ts";
import type { OwnedFd } from "../native/owned-fd.ts";
import { Outbox } from "../parent/outbox.ts";
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
  | { readonly kind: "reopenLogs" };

export type ToSupervisor =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly why: string }
  /** It has been asked to leave by somebody else: it serves until it is told to drain. */
  | { readonly kind: "leaves" };

/** The largest configuration file fits (1 MiB), as JSON. */
const maxMessageBytes = 4 * 1024 * 1024;

export interface ChannelHandlers<In> {
  message(message: In): void;
  /** The other process is gone, or says what it should not. Called once. */
  closed(): void;
}

export class ControlChannel<In, Out> {
  readonly #handlers: ChannelHandlers<In>;
  readonly #outbox = new Outbox(() => this.close());
  #socket: Socket<ControlChannel<In, Out>> | undefined;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #closed = false;

  private constructor(handlers: ChannelHandlers<In>) {
    this.#handlers = handlers;
  }

  /** Puts one end of the pair on the event loop; owns it from then on. */
  static async open<In, Out>(
    fd: OwnedFd,
    handlers: ChannelHandlers<In>,
  ): Promise<ControlChannel<In, Out>> {
    const channel = new ControlChannel<In, Out>(handlers);
    channel.#socket = await putOnEventLoop(fd, {
      data: channel,
      socket: {
        data: (socket, chunk) => socket.data.#receive(chunk),
        drain: (socket) => socket.data.#outbox.drained(socket),
        close: (socket) => socket.data.#end(),
        error: () => {}, // close follows
      },
    });
    return channel;
  }

  /** Sends a message; to a process that is gone, nothing happens. */
  send(message: Out): void {
    if (this.#socket === undefined || this.#closed) return;
    this.#outbox.push(Buffer.from(`${JSON.stringify(message)}\n`), this.#socket);
  }

  close(): void {
    if (this.#socket === undefined) return;
    this.#outbox.flush(this.#socket);
    this.#socket.end();
  }

  #receive(chunk: Buffer): void {
    let rest = chunk;
    for (let end = rest.indexOf(10); end >= 0 && !this.#closed; end = rest.indexOf(10)) {
      const line = Buffer.concat([...this.#received, rest.subarray(0, end)]);
      this.#received = [];
      this.#receivedBytes = 0;
      rest = rest.subarray(end + 1);
      // Both ends are this program: what comes is what was sent.
      this.#handlers.message(JSON.parse(line.toString("utf8")) as In);
    }
    if (rest.length === 0) return;
    this.#received.push(Buffer.from(rest));
    this.#receivedBytes += rest.length;
    if (this.#receivedBytes > maxMessageBytes) this.close();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers.closed();
  }
}
