/**
 * The body of one request on its way to the program: a stream that is filled no faster than it is
 * read, or, once the answer is out, bytes that are thrown away up to a limit. Runs inside
 * instances.
 */
import { bodyOf, type BodyReader } from "./body.ts";
import type { RequestHead } from "./request-head.ts";

/** The socket that the body comes from. */
export interface Flow {
  pause(): void;
  resume(): void;
}

/** What of a body nobody wants is read before the next request. */
const maxDiscardedBytes = 1024 * 1024;

export class RequestBody {
  readonly #reader: BodyReader | undefined;
  readonly #flow: Flow;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  #hasEnded = false;
  #isUnwanted = false;
  #discardedBytes = 0;

  constructor(head: RequestHead, flow: Flow) {
    this.#reader = bodyOf(head);
    this.#hasEnded = this.#reader === undefined;
    this.#flow = flow;
  }

  /** Whether all of it has come. */
  get isWhole(): boolean {
    return this.#hasEnded;
  }

  /** Whether more of it came after the answer than is worth reading. */
  get isTooLong(): boolean {
    return this.#discardedBytes > maxDiscardedBytes;
  }

  /** What a Request takes as its body. @param first what of it has come, the program's to keep. */
  init(first: Buffer, head: RequestHead): RequestInit {
    if (!head.mayHaveBody || this.#hasEnded) return {};
    if (first.length === head.contentLength) {
      this.read(first);
      return { body: first };
    }
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#stream = controller;
      },
      pull: () => {
        this.#flow.resume();
      },
      cancel: () => {
        this.#stream = undefined;
        this.#flow.resume();
      },
    });
    return { body, duplex: "half" };
  }

  /** Takes bytes that are lent. @returns how many belong to the body. @throws BadBody. */
  read(bytes: Buffer): number {
    if (this.#reader === undefined || this.#hasEnded) return 0;
    const used = this.#reader.read(bytes, this.#deliver);
    if (this.#reader.isWhole) this.#end();
    // While paused neither the client's end nor its death shows; pull() resumes.
    else if (this.#stream !== undefined && (this.#stream.desiredSize ?? 0) <= 0) this.#flow.pause();
    return used;
  }

  /** The client has ended its side. @returns whether that is the body's proper end. */
  endByClient(gone: Error): boolean {
    if (this.#hasEnded) return true;
    if (this.#reader?.isToTheEnd === true) {
      this.#end();
      return true;
    }
    this.fail(gone);
    return false;
  }

  /** Nobody reads it any more: the rest is thrown away. */
  abandon(why: Error): void {
    this.#isUnwanted = true;
    this.fail(why);
  }

  fail(error: Error): void {
    this.#stream?.error(error);
    this.#stream = undefined;
  }

  readonly #deliver = (bytes: Uint8Array): void => {
    if (this.#isUnwanted) this.#discardedBytes += bytes.length;
    // A copy: the bytes are lent, and who reads them may hand them on.
    else if (bytes.length > 0) this.#stream?.enqueue(new Uint8Array(bytes));
  };

  #end(): void {
    this.#hasEnded = true;
    this.#stream?.close();
    this.#stream = undefined;
  }
}
