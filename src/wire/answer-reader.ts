/**
 * What an instance answers, taken apart as it comes: interim heads, the head, the body without its
 * framing, and whether the stream is where another answer could begin. It knows neither the stream
 * nor whom the answer is for. Instances answer in the form that they were asked in; but where that
 * is CGI's, HTTP's is understood as well: an application has taken the session over and speaks
 * itself, so that nothing may follow.
 */
import {
  type AnswerFraming,
  type AnswerHabits,
  type AnswerHead,
  endOfAnswerHead,
  maxAnswerHeadBytes,
  parseAnswerHead,
} from "./answer-head.ts";
import { fromBytes } from "./bytes.ts";
import { ChunkedDecoder } from "./chunked.ts";
import { ProtocolError } from "./protocol-error.ts";

export interface AnswerSink {
  /** 1xx, but for 101. */
  interim(head: AnswerHead): void;
  /** 101: what follows are bytes of another protocol. */
  switched(head: AnswerHead): void;
  head(head: AnswerHead): void;
  body(bytes: Uint8Array): void;
  /** @param isClean whether nothing came behind it, and another answer could follow. */
  end(isClean: boolean): void;
}

const nothing = Buffer.alloc(0);
/** The runtime shares what is larger from the start. */
const maxCopiedBytes = 1000;

export class AnswerReader {
  readonly #sink: AnswerSink;
  readonly #isHead: boolean;
  readonly #habits: AnswerHabits;
  readonly #speaksHttp: boolean;
  #state: "head" | "body" | "switched" | "over" = "head";
  /** A head that is not whole is #begun[0, #begunBytes). */
  #begun: Buffer = nothing;
  #begunBytes = 0;
  #framing: AnswerFraming = { kind: "stream" };
  #missing = 0;
  /** Whether the instance keeps its side open behind the answer. */
  #persists = false;
  #chunked: ChunkedDecoder | undefined;
  /** Whether any byte of an answer has come. */
  hasBegun = false;

  /**
   * @param isHead whether the request is a HEAD: its answer has no body, whatever it says.
   * @param speaksHttp whether the instance was asked in HTTP's form.
   */
  constructor(sink: AnswerSink, isHead: boolean, habits: AnswerHabits, speaksHttp = false) {
    this.#sink = sink;
    this.#isHead = isHead;
    this.#habits = habits;
    this.#speaksHttp = speaksHttp;
  }

  /** Bytes have come; they stay ours. @throws ProtocolError. */
  push(chunk: Buffer): void {
    this.hasBegun = true;
    switch (this.#state) {
      case "head":
        return this.#pushHeads(chunk);
      case "body":
        return this.#pushBody(chunk);
      case "switched":
        return this.#sink.body(chunk);
      case "over":
        return;
    }
  }

  /**
   * The instance has ended the stream. @param isReset whether by an error of the connection, which
   * is no end of an answer (RFC 9112, 8). @throws ProtocolError where the answer is not whole.
   */
  ended(isReset = false): void {
    if (this.#state === "over") return;
    if (this.#state === "head") throw endedEarly(this.#begunBytes);
    if (this.#state === "switched") return this.#end(false);
    if (this.#framing.kind === "stream") {
      if (isReset) throw new ProtocolError("the answer ended with a reset of the connection");
      return this.#end(false);
    }
    const short = `${this.#missing} bytes short of its Content-Length`;
    const how = this.#framing.kind === "length" ? short : "before its last chunk";
    throw new ProtocolError(`the answer ended ${how}`);
  }

  /** Not by recursion: an instance may give as many interim answers at once as it likes. */
  #pushHeads(chunk: Buffer): void {
    for (let rest = chunk; rest.length > 0 && this.#state === "head";) rest = this.#pushHead(rest);
  }

  /** @returns what follows an interim answer. */
  #pushHead(chunk: Buffer): Buffer {
    const before = this.#begunBytes;
    if (before > 0) this.#append(chunk);
    const data = before === 0 ? chunk : this.#begun.subarray(0, this.#begunBytes);
    const end = endOfAnswerHead(data, before);
    if ((end?.head ?? data.length) > maxAnswerHeadBytes) {
      const limit = `${maxAnswerHeadBytes} bytes`;
      throw new ProtocolError(`answer of the instance: its head exceeds ${limit}`);
    }
    if (end === undefined) {
      if (before === 0) this.#begin(chunk);
      return nothing;
    }
    this.#begin(nothing);
    const head = parseAnswerHead(fromBytes(data, 0, end.head), this.#habits, this.#isHead);
    // A view of few bytes costs more than a copy: memory has to be made that can be shared.
    const isSmall = data.length <= maxCopiedBytes;
    const rest = isSmall ? Buffer.copyBytesFrom(data, end.body) : data.subarray(end.body);
    if (head.status < 200 && head.status !== 101) {
      this.#sink.interim(head);
      return rest;
    }
    this.#take(head, rest);
    return nothing;
  }

  #begin(chunk: Buffer): void {
    this.#begun = chunk;
    this.#begunBytes = chunk.length;
  }

  /** Doubles the store, so that a head that comes byte by byte costs what others do. */
  #append(chunk: Buffer): void {
    const bytes = this.#begunBytes + chunk.length;
    if (bytes > this.#begun.length) {
      const store = Buffer.allocUnsafeSlow(2 * bytes);
      this.#begun.copy(store, 0, 0, this.#begunBytes);
      this.#begun = store;
    }
    this.#begun.set(chunk, this.#begunBytes);
    this.#begunBytes = bytes;
  }

  #take(head: AnswerHead, rest: Buffer): void {
    if (head.status === 101) {
      this.#state = "switched";
      this.#sink.switched(head);
      if (rest.length > 0) this.#sink.body(rest);
      return;
    }
    if (this.#speaksHttp && !head.isHttp) {
      throw new ProtocolError("answer of the instance: it is not HTTP/1");
    }
    this.#state = "body";
    this.#persists = head.persists && head.isHttp === this.#speaksHttp;
    this.#framing = head.framing;
    if (head.framing.kind === "length") this.#missing = head.framing.bytes;
    if (head.framing.kind === "chunked") this.#chunked = new ChunkedDecoder();
    this.#sink.head(head);
    this.#pushBody(rest);
  }

  #pushBody(chunk: Uint8Array): void {
    if (this.#chunked !== undefined) return this.#pushChunks(this.#chunked, chunk);
    if (this.#framing.kind === "stream") {
      if (chunk.length > 0) this.#sink.body(chunk);
      return;
    }
    const wanted = chunk.length <= this.#missing ? chunk : chunk.subarray(0, this.#missing);
    this.#missing -= wanted.length;
    if (wanted.length > 0) this.#sink.body(wanted);
    // What is more than announced is dropped, and the stream with it.
    if (this.#missing === 0) this.#end(wanted.length === chunk.length);
  }

  #pushChunks(decoder: ChunkedDecoder, chunk: Uint8Array): void {
    const taken = decoder.push(chunk, this.#deliver);
    if (decoder.isDone) this.#end(taken === chunk.length);
  }

  readonly #deliver = (part: Uint8Array): void => this.#sink.body(part);

  #end(isClean: boolean): void {
    this.#state = "over";
    this.#sink.end(isClean && this.#persists);
  }
}

function endedEarly(bytes: number): ProtocolError {
  return new ProtocolError(
    bytes === 0
      ? "answer of the instance: it closed without one"
      : `answer of the instance: it ended inside its head, after ${bytes} bytes`,
  );
}
