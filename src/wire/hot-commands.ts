/**
 * The commands that nearly all traffic consists of, read straight from their bytes: `get`,
 * `getTagged`, `getKept`, `close` and `keep`. A client asks for the same application again and
 * again, so the application of its last get is kept, bytes and meaning, and compared before
 * anything is parsed. It costs no string, and the root stays one string, whose hash is known.
 * Whatever is not of exactly these forms is parsed as every other command is: this file decides
 * nothing.
 */
import type { AppRequest } from "./app-request.ts";
import { asBuffer, type ByteString } from "./bytes.ts";
import { MAX_TAG_BYTES, parseCommand, type Command } from "./commands.ts";
import { splitElements } from "./decoder.ts";

const get = Buffer.from("get\0");
const tagged = [
  { kind: "getTagged", name: Buffer.from("getTagged\0") },
  { kind: "getKept", name: Buffer.from("getKept\0") },
] as const;
const aboutSession = [
  { kind: "close", name: Buffer.from("close\0") },
  { kind: "keep", name: Buffer.from("keep\0") },
] as const;

const zero = 0x30;
const nine = 0x39;
/** More digits could exceed what a number holds exactly: they are left to the parser. */
const maxDigits = 15;

type GetCommand = Extract<Command, { kind: "get" }>;

export class HotCommands {
  /** The six elements of the last get, as bytes. */
  #bytes: Uint8Array = new Uint8Array();
  /** That get, without the tag it may have had. */
  #get: GetCommand | undefined;

  /** The command in `data[first, end)`: the payload of an array message, its last byte a NUL. */
  read(data: Uint8Array, first: number, end: number): Command {
    return (
      this.#knownGet(data, first, end) ??
      readAboutSession(data, first, end) ??
      this.#parse(data, first, end)
    );
  }

  #knownGet(data: Uint8Array, first: number, end: number): Command | undefined {
    const known = this.#get;
    if (known === undefined) return undefined;
    const start = end - this.#bytes.length;
    if (start === first + get.length) {
      if (!startsWith(data, first, get) || !startsWith(data, start, this.#bytes)) return undefined;
      return known;
    }
    for (const { kind, name } of tagged) {
      if (!startsWith(data, first, name)) continue;
      const tagAt = first + name.length;
      const tagBytes = start - 1 - tagAt;
      if (tagBytes < 1 || tagBytes > MAX_TAG_BYTES || data[start - 1] !== 0) return undefined;
      if (!startsWith(data, start, this.#bytes)) return undefined;
      const tag = asBuffer(data).toString("latin1", tagAt, start - 1);
      if (tag.includes("\0")) return undefined;
      return { kind, tag: tag as ByteString, app: known.app };
    }
    return undefined;
  }

  #parse(data: Uint8Array, first: number, end: number): Command {
    const command = parseCommand(splitElements(asBuffer(data), first, end));
    if (command.kind === "get") this.#remember(command.app, data, first + get.length, end);
    else if (command.kind === "getTagged" || command.kind === "getKept") {
      const start = first + command.kind.length + 1 + command.tag.length + 1;
      this.#remember(command.app, data, start, end);
    }
    return command;
  }

  #remember(app: AppRequest, data: Uint8Array, start: number, end: number): void {
    this.#get = { kind: "get", app };
    // A copy, which `slice` of a Buffer is not: the data is borrowed.
    this.#bytes = new Uint8Array(data.subarray(start, end));
  }
}

function readAboutSession(data: Uint8Array, first: number, end: number): Command | undefined {
  for (const { kind, name } of aboutSession) {
    if (!startsWith(data, first, name)) continue;
    const sessionId = readDigits(data, first + name.length, end - 1);
    return sessionId === undefined ? undefined : { kind, sessionId };
  }
  return undefined;
}

function readDigits(data: Uint8Array, start: number, end: number): number | undefined {
  const digits = end - start;
  if (digits < 1 || digits > maxDigits) return undefined;
  let value = 0;
  for (let i = start; i < end; i += 1) {
    const byte = data[i] ?? 0;
    if (byte < zero || byte > nine) return undefined;
    value = value * 10 + (byte - zero);
  }
  return value;
}

function startsWith(data: Uint8Array, at: number, bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i += 1) {
    if (data[at + i] !== bytes[i]) return false;
  }
  return true;
}
