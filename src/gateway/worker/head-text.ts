/** The head of an answer as it goes to a visitor: what was said, and what every answer carries. */
import { connectionLine } from "../../http/answer-framing.ts";

export interface HeadParts {
  readonly status: number;
  readonly reason: string;
  /** As whoever answers has them, each with its line end. */
  readonly lines: string;
  /** Date with its line end; empty if it is among the lines. */
  readonly date: string;
  readonly id: string;
  /** Of the visitor's HTTP/1.x. */
  readonly minor: 0 | 1;
  readonly closes: boolean;
  /** Strict-Transport-Security; undefined: none. What the application says of it is kept. */
  readonly strictTransport: string | undefined;
}

const hasStrictTransport = /^strict-transport-security:/im;

export function headText(parts: HeadParts): string {
  const { status, reason, lines, date, id, minor, closes, strictTransport } = parts;
  const isSaid = strictTransport === undefined || hasStrictTransport.test(lines);
  const secure = isSaid ? "" : `Strict-Transport-Security: ${strictTransport}\r\n`;
  return (
    `HTTP/1.1 ${status} ${reason}\r\n${lines}${connectionLine(closes, minor)}${date}${secure}` +
    `X-Request-Id: ${id}\r\n\r\n`
  );
}
