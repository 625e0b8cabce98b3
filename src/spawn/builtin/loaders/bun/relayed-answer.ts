/**
 * An answer of Bun's own server on its way to a session: its head in CGI form, and where its body
 * ends (RFC 9112, 6.3). Runs inside instances.
 */
import { ChunkedBody, PlainBody, type Body } from "../javascript/body.ts";
import { withoutConnection } from "../javascript/connection-headers.ts";

/** Beyond it there is no answer. */
const maxHeadBytes = 1024 * 1024;

export class RelayedAnswer {
  readonly #isHead: boolean;
  readonly #isKept: boolean;
  readonly #lastLine: () => string;
  #head: Buffer = Buffer.alloc(0);
  #body: Body | undefined;
  status = 0;

  /**
   * @param isHead whether HEAD was asked for. @param isKept whether the session may go on.
   * @param lastLine what a head that is made now has to say of the session's end.
   */
  constructor(isHead: boolean, isKept: boolean, lastLine: () => string) {
    this.#isHead = isHead;
    this.#isKept = isKept;
    this.#lastLine = lastLine;
  }

  get isWhole(): boolean {
    return this.#body?.isWhole === true;
  }

  /** Whether the end of the server's side is the answer's. */
  get isToTheEnd(): boolean {
    return this.#body?.isToTheEnd === true;
  }

  /**
   * Takes what the server says. @returns what the session is to be sent. After a 101 nothing more
   * may be given to it. @throws BadBody, Error: it is no answer.
   */
  read(bytes: Buffer): Uint8Array {
    if (this.#body !== undefined) return this.#readBody(this.#body, bytes);
    const all = this.#head.length === 0 ? bytes : Buffer.concat([this.#head, bytes]);
    const end = all.indexOf("\r\n\r\n");
    if (end < 0) {
      if (all.length > maxHeadBytes) throw new Error("the answer's head is too long");
      this.#head = Buffer.from(all);
      return new Uint8Array(0);
    }
    this.#head = Buffer.alloc(0);
    const text = all.toString("latin1", 0, end);
    this.status = Number(text.slice("HTTP/1.1 ".length, "HTTP/1.1 200".length));
    if (this.status === 101) return all;
    const rest = all.subarray(end + 4);
    if (this.status < 200) return this.#interim(text, rest);
    const head = Buffer.from(this.#readHead(text.split("\r\n")), "latin1");
    const body = this.#body as Body | undefined;
    return body === undefined ? head : Buffer.concat([head, this.#readBody(body, rest)]);
  }

  /** That a body may come, the front end has said; of others only who keeps sessions knows. */
  #interim(text: string, rest: Buffer): Uint8Array {
    // No interim answer names the connection: the program has ended its answer so (node:http).
    if (/^connection:/im.test(text)) throw new Error(`the status ${this.status} ends no request`);
    const isWanted = this.#isKept && this.status > 100;
    const head = isWanted ? `Status: ${text.slice("HTTP/1.1 ".length)}\r\n\r\n` : "";
    const more = rest.length === 0 ? rest : this.read(rest);
    return Buffer.concat([Buffer.from(head, "latin1"), more]);
  }

  #readHead([first = "", ...lines]: readonly string[]): string {
    const valueOf = (name: string) =>
      lines
        .find((line) => line.toLowerCase().startsWith(name))
        ?.slice(name.length)
        .trim();
    const length = valueOf("content-length:");
    const isChunked = valueOf("transfer-encoding:") !== undefined;
    const hasBody = !this.#isHead && this.status !== 204 && this.status !== 304;
    if (!hasBody) this.#body = new PlainBody(0);
    else if (isChunked) this.#body = new ChunkedBody();
    else this.#body = new PlainBody(length === undefined ? Infinity : Number(length));
    const kept = withoutConnection(lines);
    if (hasBody && isChunked && this.#isKept) kept.push("transfer-encoding: chunked");
    const status = `Status: ${first.slice("HTTP/1.1 ".length)}`;
    return `${[status, ...kept, ""].join("\r\n")}${this.#lastLine()}\r\n`;
  }

  /** In chunks as they come to who keeps sessions, else bare. */
  #readBody(body: Body, bytes: Buffer): Uint8Array {
    const parts: Uint8Array[] = [];
    const used = body.read(bytes, (part) => parts.push(part));
    return this.#isKept ? bytes.subarray(0, used) : Buffer.concat(parts);
  }
}
