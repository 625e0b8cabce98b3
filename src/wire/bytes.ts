/**
 * Byte strings: the elements of messages, application roots and socket names are bytes, not text (a
 * path need not be UTF-8). Here a byte string is a JavaScript string whose char codes are the bytes
 * (0–255): cheap to decode, to compare (string order is byte order) and to use as a map key.
 */

declare const byteString: unique symbol;

/** A string whose every char code is one byte (0–255). */
export type ByteString = string & { readonly [byteString]: true };

/** The UTF-8 bytes of `text` as a byte string. */
export function fromText(text: string): ByteString {
  return Buffer.from(text, "utf8").toString("latin1") as ByteString;
}

/** A text known to be ASCII, a literal or number of ours, as a byte string: the same string. */
export function ascii(text: string): ByteString {
  return text as ByteString;
}

/** The bytes as text for people: UTF-8 where it is valid, U+FFFD where it is not. */
export function toText(bytes: ByteString): string {
  return toBytes(bytes).toString("utf8");
}

/** A byte string of `data[start, end)`. */
export function fromBytes(data: Uint8Array, start = 0, end = data.length): ByteString {
  return asBuffer(data).toString("latin1", start, end) as ByteString;
}

/** A fresh buffer holding the bytes. */
export function toBytes(bytes: ByteString): Buffer {
  return Buffer.from(bytes, "latin1");
}

/** The same memory as a Buffer, for its fast string methods; copies nothing. */
export function asBuffer(data: Uint8Array): Buffer {
  if (data instanceof Buffer) return data;
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

/** The longest start of `bytes`, at most `maxBytes` long, that does not split a UTF-8 character. */
export function cutBytes(bytes: ByteString, maxBytes: number): ByteString {
  if (bytes.length <= maxBytes) return bytes;
  let end = maxBytes;
  // A character has at most three continuation bytes (10xxxxxx); more of them are no UTF-8: cut
  // anywhere.
  while (end > maxBytes - 4 && end > 0 && isContinuation(bytes.charCodeAt(end))) end--;
  return bytes.slice(0, isContinuation(bytes.charCodeAt(end)) ? maxBytes : end) as ByteString;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/**
 * The bytes as one line of printable ASCII for logs and error messages: all else as `\n`, `\t`,
 * `\xHH`. At most `maxBytes` of them are shown, then `...`: a peer decides what it sends, not how
 * much of it we write down.
 */
export function escapeForLog(bytes: ByteString, maxBytes = 200): string {
  const shown = bytes.length > maxBytes ? bytes.slice(0, maxBytes) : bytes;
  const escaped = shown.replace(/[^ -[\]-~]/g, escapeByte);
  return shown === bytes ? escaped : `${escaped}...`;
}

/**
 * The bytes with control characters (C0, DEL, and C1 written in UTF-8) escaped and all else as it
 * is, so that a path cannot break a line or reach the terminal of whoever reads a report.
 */
export function escapeControls(bytes: ByteString): ByteString {
  // oxlint-disable-next-line no-control-regex -- control characters are what it is for
  return bytes.replace(/[\x00-\x1f\x7f]|\xc2[\x80-\x9f]/g, (found) =>
    Array.from(found, escapeByte).join(""),
  ) as ByteString;
}

/** The same of a text. */
export function printable(text: string): string {
  return toText(escapeControls(fromText(text)));
}

const namedEscapes = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\\", "\\\\"],
]);

function escapeByte(byte: string): string {
  return namedEscapes.get(byte) ?? `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
