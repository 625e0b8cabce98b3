/**
 * One session (PROTOCOL sections 5 and 11): a connection with a request on it, or several one after
 * the other. Runs inside instances.
 *
 * Back-pressure holds both ways: the socket is paused while the application does not read the body,
 * and the answer is not read further while the client does not take it. A client that is gone
 * aborts the request. When an answer is complete although the body is not, the rest of it is read
 * and thrown away for a moment: closing at once would turn the client's EOF into ECONNRESET.
 */
import { send, type Output } from "./answer.ts";
import { BadBody } from "./body.ts";
import { rememberClient } from "./clients.ts";
import { RequestBody } from "./request-body.ts";
import { BadRequest, headEnd, parseHead, type RequestHead } from "./request-head.ts";

/** What answers requests; what it throws or rejects with becomes a 500. */
export type Handler = (request: Request) => Response | Promise<Response>;

export type SessionSocket = Bun.Socket<Session>;

/** All sessions of the instance, as one of them sees it. */
export interface SessionHost {
  readonly handler: Handler;
  readonly isLeaving: boolean;
  /** Whether the program gets one request at a time. */
  readonly isSerial: boolean;
  opened(session: Session): void;
  /** A request is whole enough to begin: calls start() when it is its turn. */
  begin(session: Session): void;
  /** A request is over, or will not begin. */
  end(session: Session): void;
  /** Everything is done for a session, though it may not be closed yet: once for each. */
  over(): void;
  closed(session: Session): void;
}

/** How long the rest of a body nobody wants is read. */
const lingerMs = 2_000;

const nothing = Buffer.alloc(0);

export class ClientGone extends Error {
  override readonly name = "ClientGone";
}

export class Session implements Output {
  readonly #socket: SessionSocket;
  readonly #host: SessionHost;
  #state: "head" | "waiting" | "answering" | "draining" | "closing" | "closed" = "head";
  /** Bytes that came before their time. */
  #ahead: Buffer = nothing;
  #head: RequestHead | undefined;
  #body: RequestBody | undefined;
  #aborter: AbortController | undefined;
  #served = 0;
  #hasClientEnded = false;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;
  #wakeWriter: (() => void) | undefined;

  constructor(socket: SessionSocket, host: SessionHost) {
    this.#socket = socket;
    this.#host = host;
    host.opened(this);
  }

  get isKept(): boolean {
    return this.#head?.isKept === true;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The socket has bytes, which are lent for the time of the call. */
  data(chunk: Buffer): void {
    switch (this.#state) {
      case "head":
        return this.#readHead(chunk);
      case "waiting":
        return this.#keepForLater(chunk);
      case "answering":
      case "draining":
        return this.#readBody(chunk);
      case "closing":
      case "closed":
        return; // Nobody wants it.
    }
  }

  /** The client has ended its side. */
  end(): void {
    this.#hasClientEnded = true;
    if (this.#state === "head" || this.#state === "closing") this.#closeNow();
    else if (this.#state === "draining") this.#close();
    else if (this.#state === "answering") this.#endBodyEarly();
  }

  /** The socket has room again. */
  drain(): void {
    this.#wakeWriter?.();
  }

  /** The connection is gone. */
  closed(): void {
    if (this.#state === "closed") return;
    clearTimeout(this.#timer);
    const wasAnswering = this.#state === "answering";
    this.#state = "closed";
    if (wasAnswering) {
      const gone = new ClientGone("the client is gone");
      this.#body?.fail(gone);
      this.#aborter?.abort(gone);
      this.#wakeWriter?.();
    }
    // The program has been told, and hears of it in this turn of the event loop. One that gets one
    // request at a time has also to settle its answer.
    if (!wasAnswering || !this.#host.isSerial) setImmediate(() => this.#over());
    this.#host.closed(this);
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#host.over();
  }

  /** Ends it if all it waits for is a further request. */
  closeIfLeaving(): void {
    const isIdle = this.#state === "head" && this.#served > 0 && this.#ahead.length === 0;
    if (isIdle && this.#host.isLeaving) this.#close();
  }

  #keepForLater(chunk: Buffer): void {
    this.#ahead =
      this.#ahead.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#ahead, chunk]);
  }

  #readHead(chunk: Buffer): void {
    const bytes = this.#ahead.length === 0 ? chunk : Buffer.concat([this.#ahead, chunk]);
    try {
      const end = headEnd(bytes);
      if (end === undefined || bytes.length < end) {
        this.#ahead = Buffer.from(bytes);
        return;
      }
      this.#head = parseHead(bytes, 4, end);
      this.#ahead = bytes.length === end ? nothing : Buffer.from(bytes.subarray(end));
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#state = "waiting";
    this.#host.begin(this);
  }

  /** It is this request's turn. */
  start(): void {
    this.#state = "answering";
    this.#served += 1;
    const head = this.#head as RequestHead;
    try {
      const request = this.#request(head);
      if (this.#hasClientEnded) this.#endBodyEarly();
      this.#answer(head.method, request);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #request(head: RequestHead): Request {
    const { method, url, headers } = head;
    const body = new RequestBody(head, this.#socket);
    this.#body = body;
    this.#aborter = new AbortController();
    const { signal } = this.#aborter;
    const ahead = this.#ahead;
    this.#ahead = nothing;
    const init = body.init(ahead, head);
    let request: Request;
    try {
      request = new Request(url, { method, headers, signal, ...init });
    } catch {
      throw new BadRequest(`the method ${method} cannot be served`);
    }
    // Bun makes a GET of a method it does not know.
    if (request.method !== method.toUpperCase()) {
      throw new BadRequest(`the method ${method} cannot be served`);
    }
    rememberClient(request, head.remoteAddress, head.remotePort);
    if (ahead.length > 0 && init.body !== ahead) this.#readBody(ahead);
    return request;
  }

  #readBody(bytes: Buffer): void {
    const body = this.#body as RequestBody;
    let used = 0;
    try {
      used = body.read(bytes);
    } catch (error) {
      if (!(error instanceof BadBody)) throw error;
      body.fail(new ClientGone(error.message));
      this.#socket.terminate();
      return;
    }
    if (used < bytes.length) this.#readAhead(bytes.subarray(used));
    if (this.#state !== "draining") return;
    if (body.isWhole) this.#next();
    else if (body.isTooLong) this.#close();
  }

  /** The next request, before the answer to this one: it waits. */
  #readAhead(bytes: Buffer): void {
    this.#keepForLater(bytes);
    this.#socket.pause();
  }

  /** The client has ended its side while the request is answered. */
  #endBodyEarly(): void {
    const isProper = this.#body?.endByClient(new ClientGone("the client ended the body early"));
    // On a kept session there is no half-close: the client is gone.
    if (isProper === true && this.isKept) this.#socket.terminate();
  }

  #answer(method: string, request: Request): void {
    let answered: Response | Promise<Response>;
    try {
      answered = this.#host.handler(request);
    } catch (error) {
      answered = failed(error);
    }
    if (answered instanceof Response) this.#send(method, answered);
    else void this.#sendLater(method, answered);
  }

  async #sendLater(method: string, answered: Promise<Response>): Promise<void> {
    let response: Response;
    try {
      response = await answered;
    } catch (error) {
      response = failed(error);
    }
    this.#send(method, response);
  }

  #send(method: string, response: Response): void {
    if (this.#state !== "answering") {
      void response.body?.cancel().catch(() => {});
      this.#over();
      return;
    }
    const sending = send(this, method, response);
    if (sending === undefined) this.#finish();
    else void this.#finishAfter(sending);
  }

  async #finishAfter(sending: Promise<void>): Promise<void> {
    try {
      await sending;
      this.#finish();
    } catch (error) {
      if (this.#state !== "answering") return this.#over();
      // The head may be out already: the missing end is all that can still be told.
      reportUnlessGone(error);
      this.#socket.terminate();
    }
  }

  writeText(text: string): Promise<void> | undefined {
    const written = this.#socket.write(text);
    // Each character is a byte at least: fewer bytes than characters were not all.
    if (written >= text.length) {
      const length = Buffer.byteLength(text);
      if (written === length) return undefined;
    }
    return this.#writeRest(Buffer.from(text), written);
  }

  write(data: Uint8Array): Promise<void> | undefined {
    const written = this.#socket.write(data);
    return written === data.length ? undefined : this.#writeRest(data, written);
  }

  async #writeRest(data: Uint8Array, first: number): Promise<void> {
    let rest = data;
    for (let written = first; ; written = this.#socket.write(rest)) {
      if (written < 0 || this.#state !== "answering") throw new ClientGone("the client is gone");
      rest = rest.subarray(written);
      if (rest.length === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakeWriter = resolve;
      await promise;
      this.#wakeWriter = undefined;
    }
  }

  /** The answer is out. */
  #finish(): void {
    if (this.#state !== "answering") return;
    const isWhole = this.#body?.isWhole === true;
    if (!isWhole) this.#body?.abandon(new ClientGone("the answer is complete"));
    if (!this.isKept || this.#host.isLeaving || this.#hasClientEnded) this.#close();
    else if (isWhole) this.#next();
    else this.#drain();
  }

  /** Reads the rest of a body that the program did not want, to get to the next request. */
  #drain(): void {
    this.#state = "draining";
    this.#socket.resume();
    this.#timer = setTimeout(() => this.#close(), lingerMs).unref();
  }

  #next(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#state = "head";
    this.#head = undefined;
    this.#body = undefined;
    this.#aborter = undefined;
    this.#host.end(this);
    const ahead = this.#ahead;
    if (ahead.length === 0) {
      this.closeIfLeaving();
      return;
    }
    this.#ahead = nothing;
    this.#socket.resume();
    this.data(ahead);
  }

  /** Ends the session after what has been written. */
  #close(): void {
    clearTimeout(this.#timer);
    const isWhole = this.#body === undefined || this.#body.isWhole || this.#hasClientEnded;
    this.#state = "closing";
    if (isWhole) return this.#closeNow();
    this.#over();
    this.#socket.shutdown();
    this.#socket.resume();
    this.#timer = setTimeout(() => this.#socket.terminate(), lingerMs).unref();
  }

  #closeNow(): void {
    this.#over();
    this.#socket.end();
  }

  #refuse(error: unknown): void {
    if (!(error instanceof BadRequest)) reportUnlessGone(error);
    const why = error instanceof BadRequest ? error.message : "it could not be read";
    const body = `Bad request: ${why}.\n`;
    const headers = `content-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}`;
    this.#socket.write(`Status: 400 Bad Request\r\n${headers}\r\n\r\n${body}`);
    this.#close();
  }
}

function failed(error: unknown): Response {
  reportUnlessGone(error);
  return new Response("Internal Server Error\n", { status: 500 });
}

/** A client that leaves is no fault of the application's. */
export function reportUnlessGone(error: unknown): void {
  if (!(error instanceof ClientGone)) process.stderr.write(`${Bun.inspect(error)}\n`);
}
