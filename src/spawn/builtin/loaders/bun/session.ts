/**
 * A session of a bun application whose `fetch` is called in this process. Runs inside instances.
 *
 * Back-pressure holds both ways: the socket is paused while the application does not read the body,
 * and the answer is not read further while the client does not take it. A client that is gone
 * aborts the request.
 */
import { type Head, unknownMethod } from "../javascript/head.ts";
import type { Host } from "../javascript/host.ts";
import { InstanceSession, type InstanceStream } from "../javascript/session.ts";
import { sendAnswer, type Output, type AnswerSource } from "./answer.ts";
import { rememberClient } from "./clients.ts";
import { headersOf, requestError, urlOf } from "./request.ts";

/** What answers requests, at once or later; it never throws. */
export type Handler = (request: Request, answer: (response: Response) => void) => void;

export class ClientGone extends Error {
  override readonly name = "ClientGone";
}

export class SocketConnection implements InstanceStream {
  readonly #socket: Bun.Socket<unknown>;

  constructor(socket: Bun.Socket<unknown>) {
    this.#socket = socket;
  }

  /** @returns how many bytes the kernel has taken; negative: nobody is there. */
  write(data: string | Uint8Array): number {
    return this.#socket.write(data);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  shutdown(): void {
    this.#socket.shutdown();
  }

  destroy(): void {
    this.#socket.terminate();
  }
}

export class CalledSession extends InstanceSession<SocketConnection> implements Output {
  readonly #handler: Handler;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  #aborter: AbortController | undefined;
  #wakeWriter: (() => void) | undefined;
  /** What the answer's body comes from. */
  #source: AnswerSource | undefined;

  constructor(connection: SocketConnection, host: Host, handler: Handler) {
    super(connection, host);
    this.#handler = handler;
  }

  get isKept(): boolean {
    return this.head.isKept;
  }

  /** The socket has room again. */
  drained(): void {
    this.#wakeWriter?.();
  }

  protected override begin(head: Head): void {
    const { method } = head;
    this.#aborter = new AbortController();
    const { signal } = this.#aborter;
    const headers = headersOf(head);
    const body = this.#bodyOf(method);
    const init =
      body === undefined ? { method, headers, signal } : { method, headers, signal, body };
    let request: Request;
    const url = urlOf(head);
    try {
      request = new Request(url, init);
    } catch {
      throw requestError(method, url);
    }
    // Bun makes a GET of a method it does not know.
    if (request.method !== method.toUpperCase()) throw unknownMethod(method);
    rememberClient(request, head.remoteAddress, head.remotePort);
    this.#handler(request, (response) => this.#send(method, response));
  }

  /** The Web platform knows no body with GET and HEAD: one that comes is dropped. */
  #bodyOf(method: string): Buffer | ReadableStream<Uint8Array> | undefined {
    if (this.isBodyWhole) return undefined;
    const whole = this.takeWholeBody();
    if (method === "GET" || method === "HEAD") return undefined;
    if (whole !== undefined) return whole;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#stream = controller;
      },
      pull: () => this.connection.resume(),
      cancel: () => {
        this.#stream = undefined;
        this.connection.resume();
      },
    });
  }

  protected override deliver(bytes: Uint8Array): void {
    if (this.#stream === undefined || bytes.length === 0) return;
    // A copy: the bytes are lent, and who reads them may hand them on.
    this.#stream.enqueue(new Uint8Array(bytes));
    // While paused neither the client's end nor its death shows; pull() resumes.
    if (!this.isBodyWhole && (this.#stream.desiredSize ?? 0) <= 0) this.connection.pause();
  }

  protected override endBody(): void {
    if (this.#stream === undefined) return;
    this.#stream.close();
    this.#stream = undefined;
    // Nobody pulls at what has ended.
    this.connection.resume();
  }

  protected override abort(error: Error): void {
    this.#failBody(new ClientGone(error.message));
    // The other side may still wait for an answer where it only ended the body early.
    if (!this.hasClientEnded || this.isKept) this.connection.destroy();
  }

  #failBody(error: Error): void {
    this.#stream?.error(error);
    this.#stream = undefined;
  }

  protected override gone(wasAnswering: boolean): boolean {
    if (!wasAnswering) return false;
    const gone = new ClientGone("the client is gone");
    this.#failBody(gone);
    this.#aborter?.abort(gone);
    this.#wakeWriter?.();
    // One that has nothing to say for now would never learn it from a write.
    void this.#source?.cancel(gone).catch(() => {});
    return true;
  }

  #send(method: string, response: Response): void {
    if (this.state !== "answering") {
      void response.body?.cancel().catch(() => {});
      this.over();
      return;
    }
    const sending = sendAnswer(this, method, response);
    if (sending === undefined) this.#finish();
    else void this.#finishAfter(sending);
  }

  async #finishAfter(sending: Promise<void>): Promise<void> {
    try {
      await sending;
      if (this.state === "answering") this.#finish();
    } catch (error) {
      // The head may be out already: the missing end is all that can still be told.
      if (this.state === "answering") this.#breakOff(error);
    }
    // The answer has settled, also that of a client that left meanwhile.
    if (this.state === "closed") this.over();
  }

  #breakOff(error: unknown): void {
    reportUnlessGone(error);
    this.over();
    this.connection.destroy();
  }

  #finish(): void {
    this.#source = undefined;
    if (!this.isBodyWhole) this.#failBody(new ClientGone("the answer is complete"));
    this.answered(true);
  }

  readsFrom(source: AnswerSource): void {
    this.#source = source;
  }

  writeText(text: string): Promise<void> | undefined {
    const written = this.connection.write(text);
    // Each character is a byte at least: fewer bytes than characters were not all.
    if (written >= text.length) {
      const length = Buffer.byteLength(text);
      if (written === length) return undefined;
    }
    return this.#writeRest(Buffer.from(text), written);
  }

  write(data: Uint8Array): Promise<void> | undefined {
    const written = this.connection.write(data);
    return written === data.length ? undefined : this.#writeRest(data, written);
  }

  async #writeRest(data: Uint8Array, first: number): Promise<void> {
    let rest = data;
    for (let written = first; ; written = this.connection.write(rest)) {
      if (written < 0 || this.state !== "answering") throw new ClientGone("the client is gone");
      rest = rest.subarray(written);
      if (rest.length === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakeWriter = resolve;
      await promise;
      this.#wakeWriter = undefined;
    }
  }
}

/** A client that leaves is no fault of the application's. */
export function reportUnlessGone(error: unknown): void {
  if (!(error instanceof ClientGone)) process.stderr.write(`${Bun.inspect(error)}\n`);
}
