/**
 * One session (PROTOCOL sections 5 and 11): a connection with a request on it, or several one after
 * the other, for the loaders of JavaScript. Runs inside instances. This is the part that they have
 * in common: where heads and bodies begin and end, and how a session does. A loader's own class
 * makes a request of them, and says when its answer is out.
 *
 * When an answer is complete although the body is not, the session ends, as the answer's head has
 * said. The rest of the body is read and thrown away for a moment: closing at once would turn the
 * client's EOF into ECONNRESET.
 */
import { BadBody, bodyOf, PlainBody } from "./body.ts";
import { BadRequest, Head, headEnd, parseHead } from "./head.ts";
import type { Host } from "./host.ts";

/** How long the rest of a body nobody wants is read. */
const lingerMs = 2_000;

const noHead = new Head();
const nothing = Buffer.alloc(0);
const crlf = Buffer.from("\r\n");
const lastChunk = Buffer.from("0\r\n\r\n");

export interface InstanceStream {
  write(data: string | Uint8Array): unknown;
  pause(): void;
  resume(): void;
  /** After what has been written. */
  end(): void;
  /** The same for this side alone. */
  shutdown(): void;
  destroy(): void;
}

type State = "head" | "waiting" | "answering" | "changed" | "closing" | "closed";

export abstract class InstanceSession<C extends InstanceStream = InstanceStream> {
  readonly connection: C;
  protected readonly host: Host;
  protected state: State = "head";
  /** Bytes that came before their time. */
  protected ahead: Buffer = nothing;
  protected head = noHead;
  protected body: ReturnType<typeof bodyOf> = undefined;
  private served = 0;
  private readonly generation: number;
  /** The session ends with the answer, as its head has said. */
  private isLast = false;
  protected hasClientEnded = false;
  isOver = false;
  protected timer: ReturnType<typeof setTimeout> | undefined = undefined;
  private readonly sink = (bytes: Uint8Array): void => this.deliver(bytes);

  /** @param host knows all sessions. */
  constructor(connection: C, host: Host) {
    this.connection = connection;
    this.host = host;
    this.generation = host.generation;
    host.opened(this);
  }

  protected abstract begin(head: Head): void;
  /** Bytes of the body, lent; this and its end also when the answer is out already. */
  protected abstract deliver(bytes: Uint8Array): void;
  /** Where there was a body. */
  protected abstract endBody(): void;
  /** The body will never be whole. */
  protected abstract abort(error: Error): void;
  /** The connection is gone. @returns whether something is still done for the request. */
  protected abstract gone(wasAnswering: boolean): boolean;

  /** Whether all it waits for is a further request. */
  get isIdle(): boolean {
    return this.state === "head" && this.served > 0 && this.ahead.length === 0;
  }

  protected get isBodyWhole(): boolean {
    return this.body === undefined || this.body.isWhole;
  }

  /** Bytes from the client, which are lent for the time of the call. */
  data(chunk: Buffer): void {
    switch (this.state) {
      case "head":
        this.readHead(chunk);
        return;
      case "waiting":
        this.keepForLater(chunk);
        return;
      case "answering":
        this.readBody(chunk);
        return;
      default: // The answer is out and the session ends: nobody wants it.
    }
  }

  private keepForLater(chunk: Buffer): void {
    this.ahead = this.ahead.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.ahead, chunk]);
  }

  private readHead(chunk: Buffer): void {
    const bytes = this.ahead.length === 0 ? chunk : Buffer.concat([this.ahead, chunk]);
    try {
      const end = headEnd(bytes);
      if (end === undefined || bytes.length < end) {
        this.ahead = bytes === chunk ? Buffer.from(chunk) : bytes;
        return;
      }
      this.head = parseHead(bytes, end);
      this.ahead = bytes.length === end ? nothing : Buffer.from(bytes.subarray(end));
    } catch (error) {
      this.refuse(error);
      return;
    }
    this.state = "waiting";
    this.host.begin(this);
  }

  /** It is this request's turn. */
  start(): void {
    this.state = "answering";
    this.served += 1;
    this.body = bodyOf(this.head);
    try {
      this.begin(this.head);
    } catch (error) {
      this.refuse(error);
      return;
    }
    const { ahead } = this;
    if (ahead.length > 0 && !this.isBodyWhole) {
      this.ahead = nothing;
      this.data(ahead);
    }
    if (this.hasClientEnded) this.end();
  }

  /** The body, if all of it came with the head; then it is not delivered. */
  protected takeWholeBody(): Buffer | undefined {
    const { ahead, body } = this;
    if (body === undefined || ahead.length !== this.head.contentLength) return undefined;
    this.ahead = nothing;
    body.read(ahead, () => {});
    return ahead;
  }

  /** A body whose length is not known goes on to a parser of HTTP in chunks. */
  protected get isInChunks(): boolean {
    return this.body !== undefined && this.head.contentLength === undefined;
  }

  /** Bytes of the body as they go on; none: its end. */
  protected framed(bytes: Uint8Array): Uint8Array {
    if (!this.isInChunks) return bytes;
    if (bytes.length === 0) return lastChunk;
    return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, crlf]);
  }

  private readBody(bytes: Buffer): void {
    const { body } = this;
    if (body === undefined || body.isWhole) {
      this.readAhead(bytes);
      return;
    }
    let used = 0;
    try {
      used = body.read(bytes, this.sink);
    } catch (error) {
      if (!(error instanceof BadBody)) throw error;
      this.abort(error);
      return;
    }
    if (used < bytes.length) this.readAhead(bytes.subarray(used));
    if (!body.isWhole) return;
    this.endBody();
  }

  /** The next request, before the answer to this one: it waits. */
  private readAhead(bytes: Buffer): void {
    this.keepForLater(bytes);
    this.connection.pause();
  }

  /** The client has ended its side: it has sent everything, or it is gone. */
  end(): void {
    this.hasClientEnded = true;
    const { state } = this;
    if (state === "head" || state === "closing") this.closeNow();
    else if (state === "answering") this.endRequest();
  }

  private endRequest(): void {
    const { body, head } = this;
    // On a kept session there is no half-close.
    if (head.isKept || (body?.isWhole === false && !body.isToTheEnd)) {
      this.abort(new BadBody("the client ended the body early"));
    } else if (body instanceof PlainBody && !body.isWhole) {
      body.end();
      this.endBody();
    }
  }

  /**
   * What the head of an answer, which is made now, has to say of the session's end: who keeps
   * sessions must not send the next request on one that ends. @param ends as the program says.
   */
  lastLine(ends = false): string {
    const { host } = this;
    const isOld = host.isLeaving || this.generation !== host.generation;
    this.isLast = this.head.isKept && (ends || isOld || !this.isBodyWhole);
    return this.isLast ? "connection: close\r\n" : "";
  }

  /** The answer is out. @param isFramed whether the client can see where it ends. */
  protected answered(isFramed: boolean): void {
    if (this.state !== "answering") return;
    const mayKeep = this.head.isKept && isFramed && !this.isLast && !this.hasClientEnded;
    if (mayKeep && !this.host.isLeaving) this.next();
    else this.close();
  }

  /** The session is of another protocol from now on: the loader's own affair until it is closed. */
  protected change(): void {
    this.state = "changed";
    this.host.end(this);
  }

  private next(): void {
    clearTimeout(this.timer);
    this.state = "head";
    this.head = noHead;
    this.body = undefined;
    this.host.end(this);
    const { ahead } = this;
    if (ahead.length === 0) return;
    this.ahead = nothing;
    setImmediate(() => {
      this.connection.resume();
      this.data(ahead);
    });
  }

  /** Ends the session after what has been written. */
  close(): void {
    clearTimeout(this.timer);
    if (this.isBodyWhole || this.hasClientEnded) {
      this.closeNow();
      return;
    }
    this.state = "closing";
    this.over();
    this.connection.shutdown();
    this.connection.resume();
    this.timer = setTimeout(() => this.connection.destroy(), lingerMs).unref();
  }

  private closeNow(): void {
    this.state = "closing";
    this.over();
    this.connection.end();
  }

  private refuse(error: unknown): void {
    if (!(error instanceof BadRequest)) throw error;
    this.answerSimply(error.status, `Bad request: ${error.message}.\n`);
  }

  /**
   * Answers by itself; what follows is not understood, and not wanted. It has no length: who sees
   * where it ends takes the session for one that goes on, and loses the next request on it.
   */
  protected answerSimply(status: string, text: string): void {
    this.connection.write(`Status: ${status}\r\ncontent-type: text/plain\r\n\r\n${text}`);
    this.close();
  }

  /** Everything is done for it, though it may not be closed yet: once for each session. */
  protected over(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.host.over();
  }

  /** The connection is gone. */
  closed(): void {
    if (this.state === "closed") return;
    clearTimeout(this.timer);
    const wasAnswering = this.state === "answering";
    this.state = "closed";
    // The program is told, and hears of it in this turn of the event loop. One that gets a single
    // request at a time has to settle its answer, too.
    const isBusy = this.gone(wasAnswering);
    if (!isBusy || !this.host.isSerial) setImmediate(() => this.over());
    this.host.closed(this);
  }
}
