/**
 * HTTP on the admin address: connections of one request each, read by the same strict parser as
 * visitors' are. Rules:
 * - Everything is bounded: connections, the head and body of a request, how long one may take to
 *   come, how long an answer may wait to be taken, listeners of events.
 * - A listener that does not take an event in time misses the next ones, and gets the whole then.
 */
import type { Socket } from "bun";

import { Connection } from "../../http/connection.ts";
import type { RequestHead } from "../../http/request-head.ts";
import { requestNames } from "../policy/request-fields.ts";
import { reasonOf } from "../worker/head-text.ts";

export interface AdminRequest {
  readonly head: RequestHead;
  readonly body: string;
}

/** What is sent; `isStream`: more follows, by `AdminConnection.push`. */
export interface AdminResponse {
  readonly status: number;
  /** Header lines, each with its line end. */
  readonly lines: string;
  readonly body: string;
  readonly isStream?: boolean;
}

type Respond = (request: AdminRequest, connection: AdminConnection) => Promise<AdminResponse>;

const maxConnections = 64;
const maxHeadBytes = 8 * 1024;
const maxBodyBytes = 4 * 1024;
/** For a request to come, for it to be answered, and for the answer to be taken. */
const requestMs = 10_000;
const answerMs = 15_000;
const tickMs = 1_000;

export class AdminServer {
  readonly #respond: Respond;
  readonly #all = new Set<AdminConnection>();

  constructor(respond: Respond) {
    this.#respond = respond;
    setInterval(() => this.#tick(), tickMs).unref();
  }

  /** Accepts on a listening socket, which it takes over. @throws Error. */
  listen(fd: number): void {
    const socket = {
      open: (opened: Socket<AdminConnection>) => this.#opened(opened),
      data: (from: Socket<AdminConnection>, bytes: Buffer) => from.data?.received(bytes),
      drain: (to: Socket<AdminConnection>) => to.data?.flush(),
      close: (of: Socket<AdminConnection>) => {
        if (of.data !== undefined) this.#all.delete(of.data);
        of.data?.gone();
      },
      error: () => {}, // close follows
    };
    // Bun's types know no listener on a descriptor; Bun does.
    Bun.listen<AdminConnection>({ fd, socket } as never);
  }

  #opened(socket: Socket<AdminConnection>): void {
    if (this.#all.size >= maxConnections) {
      socket.terminate();
      return;
    }
    const connection = new AdminConnection(socket, this.#respond);
    socket.data = connection;
    this.#all.add(connection);
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const connection of this.#all) connection.tick(nowMs);
  }
}

export class AdminConnection {
  readonly #socket: Socket<AdminConnection>;
  readonly #respond: Respond;
  readonly #connection = new Connection(requestNames, maxHeadBytes);
  #head: RequestHead | undefined;
  #body = "";
  #state: "reading" | "asking" | "answering" | "streaming" | "closed" = "reading";
  #deadlineMs = performance.now() + requestMs;
  #rest: Uint8Array = new Uint8Array();
  /** It is gone: of a listener. */
  onGone: () => void = () => {};

  constructor(socket: Socket<AdminConnection>, respond: Respond) {
    this.#socket = socket;
    this.#respond = respond;
  }

  received(bytes: Buffer): void {
    if (this.#state !== "reading") return;
    this.#connection.receive(bytes);
    for (let event = this.#connection.next(); event !== undefined;) {
      switch (event.kind) {
        case "request":
          this.#head = event.head;
          if (event.head.framing.kind === "none") return void this.#answer(event.head);
          break;
        case "data":
          this.#body += Buffer.from(event.bytes).toString("latin1");
          if (this.#body.length > maxBodyBytes) return this.#refuse(413, "the body is too large");
          break;
        case "end":
          if (this.#head !== undefined) void this.#answer(this.#head);
          return;
        case "refused":
          return this.#refuse(event.refusal.status, event.refusal.reason);
        case "left":
          return void this.#socket.end();
      }
      event = this.#connection.next();
    }
  }

  /** Whether it is a listener and has taken the last event. */
  get takesMore(): boolean {
    return this.#state === "streaming" && this.#rest.length === 0;
  }

  /** Sends an event to a listener that takes more. */
  push(text: string): void {
    this.#deadlineMs = performance.now() + answerMs;
    this.#rest = Buffer.from(text);
    this.flush();
  }

  /** Sends what the kernel takes. */
  flush(): void {
    if (this.#rest.length === 0 || this.#state === "closed") return;
    this.#rest = this.#rest.subarray(Math.max(0, this.#socket.write(this.#rest)));
    if (this.#rest.length === 0 && this.#state === "answering") this.#socket.end();
  }

  gone(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#rest = new Uint8Array();
    this.onGone();
  }

  tick(nowMs: number): void {
    const isQuiet = this.#state === "streaming" && this.#rest.length === 0;
    if (!isQuiet && nowMs >= this.#deadlineMs) this.#socket.terminate();
  }

  async #answer(head: RequestHead): Promise<void> {
    this.#state = "asking";
    this.#deadlineMs = performance.now() + answerMs;
    const body = Buffer.from(this.#body, "latin1").toString("utf8");
    const response = await this.#respond({ head, body }, this);
    this.#send(response, head.method === "HEAD");
  }

  #refuse(status: number, reason: string): void {
    const lines = "Content-Type: text/plain; charset=utf-8\r\n";
    this.#send({ status, lines, body: `${reason}\n` }, false);
  }

  #send({ status, lines, body, isStream = false }: AdminResponse, isHead: boolean): void {
    if (this.#state === "closed") return;
    this.#state = isStream && !isHead ? "streaming" : "answering";
    const bytes = Buffer.from(body);
    const length = isStream ? "" : `Content-Length: ${bytes.length}\r\n`;
    const line = `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`;
    const head = `${line}${lines}${length}Connection: close\r\n\r\n`;
    this.#deadlineMs = performance.now() + answerMs;
    this.#rest = isHead ? Buffer.from(head) : Buffer.concat([Buffer.from(head), bytes]);
    this.flush();
  }
}
