/**
 * One session: a connection with a request on it, streamed in, and its answer, streamed out. Runs
 * inside instances.
 *
 * Back-pressure holds both ways: the socket is paused while the application does not read the body,
 * and the answer is not read further while the client does not take it. A client that is gone
 * aborts the request. When an answer is complete although the body is not, the rest of it is read
 * and thrown away for a moment: closing at once would turn the client's EOF into ECONNRESET.
 */
import { wholeBodyType } from "./known-bodies.ts";
import { BadRequest, headEnd, parseHead, type RequestHead } from "./request-head.ts";
import { encodeResponseHead, mayHaveBody } from "./response-head.ts";

/** What answers requests; a rejection becomes a 500. */
export type Handler = (request: Request) => Response | Promise<Response>;

export type SessionSocket = Bun.Socket<Session>;

/** How long the rest of a body nobody wants is read. */
const lingerMs = 2_000;

export class ClientGone extends Error {
  override readonly name = "ClientGone";
}

export class Session {
  readonly #socket: SessionSocket;
  readonly #handler: Handler;
  readonly #onDone: () => void;
  readonly #aborter = new AbortController();
  #head: Buffer = Buffer.alloc(0);
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  /** Bytes of body still to come; Infinity: until the client ends its side. */
  #bodyLeft = Infinity;
  #state: "head" | "answering" | "lingering" | "done" = "head";
  #wakeWriter: (() => void) | undefined;

  constructor(socket: SessionSocket, handler: Handler, onDone: () => void) {
    this.#socket = socket;
    this.#handler = handler;
    this.#onDone = onDone;
  }

  /** The socket has bytes. */
  data(chunk: Buffer): void {
    if (this.#state === "head") this.#readHead(chunk);
    else if (this.#state === "answering") this.#readBody(chunk);
    else this.#discard(chunk.length);
  }

  /** The client has ended its side. */
  end(): void {
    if (this.#state === "head") {
      this.#socket.end();
      return;
    }
    if (this.#bodyLeft === Infinity) this.#endBody();
    else this.#failBody(new ClientGone("the client ended the body early"));
    if (this.#state === "lingering") this.#socket.end();
  }

  /** The socket has room again. */
  drain(): void {
    this.#wakeWriter?.();
  }

  /** The connection is gone. */
  closed(): void {
    if (this.#state === "done") return;
    const wasAnswering = this.#state === "answering";
    this.#state = "done";
    if (wasAnswering) {
      const gone = new ClientGone("the client is gone");
      this.#failBody(gone);
      this.#aborter.abort(gone);
      this.#wakeWriter?.();
    }
    this.#onDone();
  }

  #readHead(chunk: Buffer): void {
    this.#head = Buffer.concat([this.#head, chunk]);
    try {
      const end = headEnd(this.#head);
      if (end === undefined || this.#head.length < end) return;
      const head = parseHead(this.#head.subarray(4, end));
      const rest = this.#head.subarray(end);
      this.#head = Buffer.alloc(0);
      this.#state = "answering";
      const request = this.#request(head);
      if (rest.length > 0) this.#readBody(rest);
      void this.#answer(request);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #request(head: RequestHead): Request {
    const { method, url, headers } = head;
    const signal = this.#aborter.signal;
    this.#bodyLeft = head.contentLength ?? (head.mayHaveBody ? Infinity : 0);
    const hasBody = head.mayHaveBody && this.#bodyLeft > 0;
    const body = hasBody ? { body: this.#bodyStream(), duplex: "half" as const } : {};
    let request: Request;
    try {
      request = new Request(url, { method, headers, signal, ...body });
    } catch {
      throw new BadRequest(`the method ${method} cannot be served`);
    }
    // Bun makes a GET of a method it does not know.
    if (request.method === method.toUpperCase()) return request;
    throw new BadRequest(`the method ${method} cannot be served`);
  }

  #bodyStream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#body = controller;
      },
      pull: () => {
        this.#socket.resume();
      },
      cancel: () => {
        this.#body = undefined;
        this.#socket.resume();
      },
    });
  }

  #readBody(chunk: Buffer): void {
    const wanted = chunk.subarray(0, Math.min(chunk.length, this.#bodyLeft));
    this.#bodyLeft -= wanted.length;
    const body = this.#body;
    if (body !== undefined && wanted.length > 0) {
      // A copy: who reads it may hand its memory on.
      body.enqueue(new Uint8Array(wanted));
      // While paused neither the client's end nor its death shows; pull() resumes.
      if ((body.desiredSize ?? 0) <= 0 && this.#bodyLeft > 0) this.#socket.pause();
    }
    if (this.#bodyLeft === 0) this.#endBody();
  }

  #endBody(): void {
    this.#bodyLeft = 0;
    this.#body?.close();
    this.#body = undefined;
  }

  #failBody(error: Error): void {
    this.#body?.error(error);
    this.#body = undefined;
  }

  #discard(length: number): void {
    this.#bodyLeft -= length;
    if (this.#bodyLeft <= 0) this.#socket.end();
  }

  async #answer(request: Request): Promise<void> {
    const response = await this.#respond(request);
    try {
      await this.#send(request.method, response);
      this.#finish();
    } catch (error) {
      if (this.#state === "done") return;
      // The head may be out already: the missing end is all that can still be told.
      reportUnlessGone(error);
      this.#socket.terminate();
    }
  }

  async #respond(request: Request): Promise<Response> {
    try {
      return await this.#handler(request);
    } catch (error) {
      reportUnlessGone(error);
      return new Response("Internal Server Error\n", { status: 500 });
    }
  }

  async #send(method: string, response: Response): Promise<void> {
    const hasBody = mayHaveBody(method, response.status);
    const type = wholeBodyType(response);
    if (type !== undefined && (hasBody || method === "HEAD")) {
      const bytes = await response.bytes();
      const head = encodeResponseHead(response, { type, length: bytes.length });
      return this.#write(joined(head, hasBody ? bytes : new Uint8Array(0)));
    }
    const head = encodeResponseHead(response);
    const body = response.body;
    if (body === null || !hasBody) {
      await body?.cancel();
      return this.#write(Buffer.from(head, "latin1"));
    }
    return this.#sendStream(head, body);
  }

  async #sendStream(head: string, body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    try {
      let next = await reader.read();
      await this.#write(joined(head, next.done ? new Uint8Array(0) : bytesOf(next.value)));
      while (!next.done) {
        next = await reader.read();
        if (!next.done) await this.#write(bytesOf(next.value));
      }
    } catch (error) {
      await reader.cancel(error).catch(() => {});
      throw error;
    }
  }

  async #write(data: Uint8Array): Promise<void> {
    for (let rest = data; rest.length > 0;) {
      if (this.#state !== "answering") throw new ClientGone("the client is gone");
      const written = this.#socket.write(rest);
      if (written < 0) throw new ClientGone("the client is gone");
      rest = rest.subarray(written);
      if (rest.length > 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wakeWriter = resolve;
        await promise;
        this.#wakeWriter = undefined;
      }
    }
  }

  #refuse(error: unknown): void {
    this.#state = "answering";
    const why = error instanceof BadRequest ? error.message : "it could not be read";
    const start = "Status: 400 Bad Request\r\ncontent-type: text/plain\r\n\r\n";
    this.#socket.write(`${start}Bad request: ${why}.\n`);
    this.#finish();
  }

  #finish(): void {
    if (this.#state !== "answering") return;
    this.#failBody(new ClientGone("the answer is complete"));
    if (this.#bodyLeft === 0) {
      this.#socket.end();
      return;
    }
    this.#state = "lingering";
    this.#socket.shutdown();
    this.#socket.resume();
    setTimeout(() => this.#socket.terminate(), lingerMs).unref();
  }
}

/** A client that leaves is no fault of the application's. */
export function reportUnlessGone(error: unknown): void {
  if (!(error instanceof ClientGone)) process.stderr.write(`${Bun.inspect(error)}\n`);
}

/** What Bun's own server takes from a stream: bytes in any form, and text. */
function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === "string") return Buffer.from(chunk);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) {
    return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  throw new TypeError(`a stream of the answer gave ${Bun.inspect(chunk)}, which is no bytes`);
}

function joined(head: string, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}
