/**
 * One visitor's connection (RFC 9112, 9), as a machine without input and output: bytes in, events
 * out. Two sides move through states, the visitor's and ours, and the two tables below are all they
 * may do; what is no key there is no visitor's fault but a mistake in this program, and throws.
 *
 * - `next` hands out one event at a time, and none once a request is whole until its answer is
 *   given: requests are answered in their order, however many come at once. What comes meanwhile is
 *   kept; `unreadBytes` tells whoever reads the socket when to stop.
 * - That the visitor has ended his side ends nothing that is whole: the answer is still his.
 * - After a refusal nothing more is read. After a switch bytes are handed out as they come.
 */
import { fromBytes } from "../wire/bytes.ts";
import type { FieldNames } from "../wire/field-names.ts";
import { refusals, type Refusal } from "./refusals.ts";
import { BodyReader } from "./request-body.ts";
import { type Fields, parseRequestHead, refuseEarly, type RequestHead } from "./request-head.ts";

/** What the visitor does. A request without a body is a `request`, and no `end` follows. */
export type VisitorEvent =
  | { readonly kind: "request"; readonly head: RequestHead }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "end" }
  /** To be answered, and the connection to be closed. */
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** He has ended his side: between requests, or within one (which is not to be carried out). */
  | { readonly kind: "left"; readonly within: "nothing" | "head" | "body" | "switched" };

/** `over`: no request follows. */
type VisitorState = "head" | "body" | "whole" | "switched" | "over";
type VisitorStep =
  "bodiless" | "request" | "end" | "refuse" | "leave" | "switch" | "again" | "close";

const visitorSteps: Readonly<
  Record<VisitorState, Readonly<Partial<Record<VisitorStep, VisitorState>>>>
> = {
  head: { bodiless: "whole", request: "body", refuse: "over", leave: "over", close: "over" },
  body: { end: "whole", refuse: "over", leave: "over", close: "over" },
  whole: { switch: "switched", again: "head", close: "over" },
  switched: { leave: "over", close: "over" },
  over: { close: "over" },
};

/** `owed`: an answer is; `given`: it is whole, or the connection ends with it. */
type AnswerState = "none" | "owed" | "begun" | "given" | "switched";
type AnswerStep = "owe" | "interim" | "begin" | "finish" | "switch" | "again" | "close";

const answerSteps: Readonly<
  Record<AnswerState, Readonly<Partial<Record<AnswerStep, AnswerState>>>>
> = {
  none: { owe: "owed", close: "given" },
  owed: { interim: "owed", begin: "begun", switch: "switched", close: "given" },
  begun: { finish: "given", close: "given" },
  given: { again: "none", close: "given" },
  switched: { close: "given" },
};

const nothing = Buffer.alloc(0);
/** Headers that are remembered: those of browsers have half of it. */
const maxRememberedBytes = 4096;
/** Empty lines before a request that are read over (RFC 9112, 2.2). */
const maxEmptyLines = 8;

export class Connection {
  readonly #names: FieldNames;
  readonly #maxHeadBytes: number;
  #visitor: VisitorState = "head";
  #answer: AnswerState = "none";
  /** What has come and is not read, from #at on; #text is its beginning, as far as is needed. */
  #bytes: Buffer = nothing;
  #text = "";
  #at = 0;
  /** How much of a head, from #at on, has been looked at in vain. */
  #looked = 0;
  /** Of the last head; the next is mostly the same but for its first line. */
  #fields: Fields | undefined;
  /** Before the request to come. */
  #emptyLines = 0;
  #body: BodyReader | undefined;
  /** Whether the visitor has ended his side. */
  #hasEnded = false;
  /** Whether another request may follow the one at hand. */
  #stays = true;
  /** Whether the visitor, by what he has sent, expects that. */
  #expectsToStay = false;
  /** Parts of a body, handed out one by one. */
  #parts: Uint8Array[] = [];

  /** @param maxHeadBytes of a request's head. */
  constructor(names: FieldNames, maxHeadBytes: number) {
    this.#names = names;
    this.#maxHeadBytes = maxHeadBytes;
  }

  /** Bytes that have come and wait to be read. */
  get unreadBytes(): number {
    return this.#bytes.length - this.#at;
  }

  /** Whether it waits for the next request, and nothing of it has come. */
  get isIdle(): boolean {
    return this.#visitor === "head" && this.unreadBytes === 0;
  }

  /** Whether some of a head has come, and not all. */
  get isWithinHead(): boolean {
    return this.#visitor === "head" && this.unreadBytes > 0;
  }

  /** Whether the visitor's side has ended; his answers are still his. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Whether another request may follow the answer at hand, as far as is known now. To be asked when
   * the answer's head is written; what is not whole by then is not read any more.
   */
  get stays(): boolean {
    return this.#stays && this.#visitor === "whole" && !(this.#hasEnded && this.unreadBytes === 0);
  }

  /** Whether more of the visitor's requests may be on their way, whose answers he will not get. */
  get mayBringMore(): boolean {
    if (this.#hasEnded) return false;
    return this.#expectsToStay || this.#visitor !== "whole" || this.unreadBytes > 0;
  }

  /** Bytes have come. They stay ours. */
  receive(bytes: Buffer): void {
    if (this.#visitor === "over") return;
    if (this.unreadBytes === 0) {
      this.#bytes = bytes;
      this.#text = "";
    } else {
      this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), bytes]);
      this.#text = this.#text.slice(this.#at);
    }
    this.#at = 0;
  }

  /** The visitor has ended his side. */
  end(): void {
    this.#hasEnded = true;
  }

  /** What comes next; undefined: nothing, until bytes come or the answer is given. */
  next(): VisitorEvent | undefined {
    switch (this.#visitor) {
      case "head":
        return this.#nextHead();
      case "body":
        return this.#nextPart();
      case "switched":
        return this.#nextBytes();
      case "whole":
      case "over":
        return undefined;
    }
  }

  /** An interim answer is sent: any number of them. */
  interim(): void {
    this.#stepAnswer("interim");
  }

  /** The head of the answer is sent. @param closes whether the connection ends with the answer. */
  begin(closes: boolean): void {
    this.#stepAnswer("begin");
    if (closes) this.#stays = false;
  }

  /** The last byte of the answer is sent. @returns whether the connection goes on. */
  finish(): boolean {
    this.#stepAnswer("finish");
    if (!this.#stays || this.#visitor !== "whole") {
      this.#stepVisitor("close");
      return false;
    }
    this.#stepVisitor("again");
    this.#stepAnswer("again");
    return true;
  }

  /** Both sides change to another protocol: a 101 is sent. */
  switchProtocols(): void {
    this.#stepAnswer("switch");
    this.#stepVisitor("switch");
  }

  /** Reads over what has come of a body that nobody wants. */
  skipBody(): void {
    while (this.#visitor === "body" && this.next() !== undefined);
  }

  /** It is idle, perhaps for long. */
  forgetFields(): void {
    this.#fields = undefined;
  }

  /** Nothing more is read or sent. */
  close(): void {
    this.#stepAnswer("close");
    this.#stepVisitor("close");
    this.#forget();
    this.#parts = [];
  }

  /** What is all read may be large, and the next bytes long in coming. */
  #forgetRead(): void {
    if (this.unreadBytes === 0) this.#forget();
  }

  #forget(): void {
    this.#bytes = nothing;
    this.#text = "";
    this.#at = 0;
  }

  #nextHead(): VisitorEvent | undefined {
    const { unreadBytes } = this;
    if (unreadBytes === 0) return this.#hasEnded ? this.#leave("nothing") : undefined;
    this.#look();
    const text = this.#text;
    if (!this.#skipEmptyLines(text)) return this.refuse(refusals.requestLine);
    const end = text.indexOf("\r\n\r\n", this.#at + Math.max(0, this.#looked - 3));
    const length = end < 0 ? text.length - this.#at : end - this.#at;
    if (length > this.#maxHeadBytes) return this.refuse(refusals.headTooLarge);
    if (end < 0) return this.#waitForHead(length);
    const head = parseRequestHead(text.slice(this.#at, end), this.#names, this.#fields);
    if (head.kind === "refusal") return this.refuse(head);
    // What else was read would be kept with them.
    const isAlone = text.length === end + 4 && length <= maxRememberedBytes;
    this.#fields = isAlone ? head.fields : undefined;
    this.#at = end + 4;
    this.#forgetRead();
    this.#looked = 0;
    this.#emptyLines = 0;
    this.#stays = head.keepsAlive;
    this.#expectsToStay = head.keepsAlive;
    this.#stepAnswer("owe");
    const hasBody = head.framing.kind !== "none";
    this.#body = hasBody ? new BodyReader(head.framing) : undefined;
    this.#stepVisitor(hasBody ? "request" : "bodiless");
    return { kind: "request", head };
  }

  /** As much of what has come as text as a head may have. */
  #look(): void {
    if (this.#text.length < this.#at) {
      // A body lay in between, which nobody needs as text.
      this.#bytes = this.#bytes.subarray(this.#at);
      this.#text = "";
      this.#at = 0;
    }
    const wanted = Math.min(this.#bytes.length, this.#at + this.#maxHeadBytes + 5);
    if (this.#text.length < wanted) {
      const more = fromBytes(this.#bytes, this.#text.length, wanted);
      // To add it to nothing makes a string of two parts, which are put together once more.
      this.#text = this.#text === "" ? more : this.#text + more;
    }
  }

  /** @returns whether there were no more than may be. */
  #skipEmptyLines(text: string): boolean {
    for (; isEmptyLine(text, this.#at); this.#emptyLines += 1) {
      if (this.#emptyLines === maxEmptyLines) return false;
      this.#at += 2;
      this.#looked = 0;
    }
    return true;
  }

  #waitForHead(length: number): VisitorEvent | undefined {
    const refusal = refuseEarly(this.#text.slice(this.#at), this.#looked);
    if (refusal !== undefined) return this.refuse(refusal);
    this.#looked = length;
    if (!this.#hasEnded) return undefined;
    return this.#leave(length === 0 ? "nothing" : "head");
  }

  #nextPart(): VisitorEvent | undefined {
    const part = this.#parts.shift();
    if (part !== undefined) return { kind: "data", bytes: part };
    const body = this.#body;
    if (body === undefined) throw new Error("connection: a body that is none");
    if (body.isWhole) {
      this.#body = undefined;
      this.#stepVisitor("end");
      return { kind: "end" };
    }
    if (this.unreadBytes === 0) return this.#hasEnded ? this.#leave("body") : undefined;
    const taken = body.push(this.#bytes.subarray(this.#at), (bytes) => this.#parts.push(bytes));
    if (typeof taken !== "number") return this.refuse(taken);
    this.#at += taken;
    this.#forgetRead();
    return this.#nextPart();
  }

  #nextBytes(): VisitorEvent | undefined {
    if (this.unreadBytes === 0) return this.#hasEnded ? this.#leave("switched") : undefined;
    const bytes = this.#bytes.subarray(this.#at);
    this.#forget();
    return { kind: "data", bytes };
  }

  /** Also from outside: a head that has begun is not waited for any longer. */
  refuse(refusal: Refusal): VisitorEvent {
    if (this.#visitor === "head") this.#stepAnswer("owe");
    this.#stays = false;
    this.#stepVisitor("refuse");
    return { kind: "refused", refusal };
  }

  #leave(within: "nothing" | "head" | "body" | "switched"): VisitorEvent {
    this.#stays = false;
    this.#stepVisitor("leave");
    return { kind: "left", within };
  }

  #stepVisitor(step: VisitorStep): void {
    const next = visitorSteps[this.#visitor][step];
    if (next === undefined) {
      throw new Error(`connection: ${step} while the visitor is ${this.#visitor}`);
    }
    this.#visitor = next;
  }

  #stepAnswer(step: AnswerStep): void {
    const next = answerSteps[this.#answer][step];
    if (next === undefined) {
      throw new Error(`connection: ${step} while the answer is ${this.#answer}`);
    }
    this.#answer = next;
  }
}

function isEmptyLine(text: string, at: number): boolean {
  return text.charCodeAt(at) === 0x0d && text.charCodeAt(at + 1) === 0x0a;
}
