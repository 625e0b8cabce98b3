/**
 * Whether a file is to be sent, and which part of it: preconditions and ranges (RFC 9110 sections
 * 13 and 14), in the order that section 13.2.2 sets. One range is honoured, more are not: the whole
 * file is an allowed answer to them.
 */

/** Headers of a request by their names in lower case, repeated ones joined; null: there is none. */
export interface RequestFields {
  get(lowerCase: string): string | null;
}

/** What tells one state of a file from another. */
export interface Validators {
  /** Strong, with its quotes. */
  readonly etag: string;
  /** Whole seconds of mtime; dates in headers know no less. */
  readonly modifiedSeconds: number;
}

/** Whether to send it (`send`), say that it is not new (304), or that a condition fails (412). */
export function preconditions(headers: RequestFields, file: Validators): "send" | 304 | 412 {
  const match = headers.get("if-match");
  if (match !== null) {
    if (!lists(match, file.etag, true)) return 412;
  } else if (isBefore(headers.get("if-unmodified-since"), file) === true) {
    return 412;
  }
  const noneMatch = headers.get("if-none-match");
  if (noneMatch !== null) return lists(noneMatch, file.etag, false) ? 304 : "send";
  return isBefore(headers.get("if-modified-since"), file) === false ? 304 : "send";
}

/** Bytes `start` to `end`, both included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The part that is asked for; undefined: the whole. */
export function rangeOf(
  headers: RequestFields,
  file: Validators,
  size: number,
): ByteRange | "unsatisfiable" | undefined {
  const range = headers.get("range");
  if (range === null || !isFresh(headers.get("if-range"), file)) return undefined;
  const match = /^bytes=(?:(\d{1,15})-(\d{1,15})?|-(\d{1,15}))$/i.exec(range.trim());
  if (match === null) return undefined;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), size);
    return length === 0 ? "unsatisfiable" : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  if (last !== undefined && Number(last) < start) return undefined;
  if (start >= size) return "unsatisfiable";
  return { start, end: Math.min(last === undefined ? size : Number(last), size - 1) };
}

/** Whether the visitor's part belongs to the file as it is: by ETag or by exact date. */
function isFresh(ifRange: string | null, file: Validators): boolean {
  if (ifRange === null || ifRange === file.etag) return true;
  return !/^(?:W\/)?"/.test(ifRange) && secondsOf(ifRange) === file.modifiedSeconds;
}

/** @param strong whether weak tags match nothing. */
function lists(header: string, etag: string, strong: boolean): boolean {
  if (header.trim() === "*") return true;
  for (const [tag] of header.matchAll(/(?:W\/)?"[^"]*"/g)) {
    if (tag === etag || (!strong && tag === `W/${etag}`)) return true;
  }
  return false;
}

/** Whether the date is before the file's; undefined: it is no date. */
function isBefore(date: string | null, file: Validators): boolean | undefined {
  const seconds = date === null ? undefined : secondsOf(date);
  return seconds === undefined ? undefined : seconds < file.modifiedSeconds;
}

/** The three forms of RFC 9110, 5.6.7; the last names no zone, and all are of one. */
const httpDates = [
  /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT$/,
  /^[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d [\d:]{8} GMT$/,
  /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4}$/,
];

/** Of a date as HTTP writes it; what else JavaScript would take for a date is none. */
function secondsOf(date: string): number | undefined {
  if (!httpDates.some((form) => form.test(date))) return undefined;
  const milliseconds = Date.parse(date.endsWith("GMT") ? date : `${date} GMT`);
  return Number.isNaN(milliseconds) ? undefined : milliseconds / 1000;
}
