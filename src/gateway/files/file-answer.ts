/**
 * What is answered with a file: pure, from the request's headers and what is known of the file.
 * Conditions before ranges (conditions.ts); HEAD has the headers of GET, ranges aside. The lines
 * are those of this answer alone: Date, the request's id and the connection's are for the sender.
 */
import type { Coding } from "./accept-encoding.ts";
import {
  preconditions,
  rangeOf,
  type ByteRange,
  type RequestFields,
  type Validators,
} from "./conditions.ts";
import type { MediaType } from "./media-types.ts";

export interface FileFacts {
  readonly size: number;
  readonly validators: Validators;
  /** In which coding it lies there. */
  readonly coding: Coding | undefined;
}

interface FileHead {
  readonly status: 200 | 206 | 304 | 412 | 416;
  /** Header lines, each with its line end. */
  readonly lines: string;
  /** What of the file is the body; undefined: nothing. */
  readonly part: ByteRange | undefined;
}

/**
 * @param type what it is in the end. @param fields of the request. @param isHead whether only the
 * head is asked for.
 */
export function answerWith(
  { size, validators, coding: sentIn }: FileFacts,
  type: MediaType,
  fields: RequestFields,
  isHead: boolean,
): FileHead {
  const common = commonLines(validators, type);
  const outcome = preconditions(fields, validators);
  if (outcome === 304) return { status: 304, lines: common, part: undefined };
  if (outcome === 412) {
    return { status: 412, lines: `${common}Content-Length: 0\r\n`, part: undefined };
  }
  const range = isHead ? undefined : rangeOf(fields, validators, size);
  if (range === "unsatisfiable") {
    const lines = `Content-Range: bytes */${size}\r\nContent-Length: 0\r\n`;
    return { status: 416, lines: common + lines, part: undefined };
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  const coding = sentIn === undefined ? "" : `Content-Encoding: ${sentIn.name}\r\n`;
  const lines =
    `${common}${coding}Content-Type: ${type.name}\r\nAccept-Ranges: bytes\r\n` +
    `Content-Length: ${end - start + 1}\r\n`;
  const part = isHead || size === 0 ? undefined : { start, end };
  if (range === undefined) return { status: 200, lines, part };
  return { status: 206, lines: `${lines}Content-Range: bytes ${start}-${end}/${size}\r\n`, part };
}

function commonLines(validators: Validators, type: MediaType): string {
  const modified = new Date(validators.modifiedSeconds * 1000).toUTCString();
  const lines =
    `ETag: ${validators.etag}\r\nLast-Modified: ${modified}\r\n` +
    "X-Content-Type-Options: nosniff\r\n";
  return type.compressible ? `${lines}Vary: Accept-Encoding\r\n` : lines;
}
