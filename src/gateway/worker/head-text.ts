/**
 * The head of an answer as it goes to a visitor: what was said, and what every answer carries.
 *
 * It is framed (RFC 9112, 6.3) by its length where that is known, in chunks where the visitor knows
 * them (HTTP/1.1), else by the end of the connection. An answer that breaks off never looks whole:
 * too few bytes, no last chunk, or, where only the end tells, a reset.
 */
import { STATUS_CODES } from "node:http";

import type { AnswerHead } from "../../wire/answer-head.ts";

interface HeadParts {
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

/** What a connection says of its end, if that is not what the visitor expects (RFC 9112, 9.3). */
function connectionLine(closes: boolean, minor: 0 | 1): string {
  if (closes) return "Connection: close\r\n";
  return minor === 0 ? "Connection: keep-alive\r\n" : "";
}

export type VisitorFraming =
  /** There is no body, or it is as long as its Content-Length says. */
  "length" | "chunked" | "close";

/** @param minor of the visitor's HTTP/1.x. */
export function framingFor(head: AnswerHead, minor: 0 | 1): VisitorFraming {
  if (head.framing.kind === "none" || head.framing.kind === "length") return "length";
  return minor === 1 ? "chunked" : "close";
}

/** The lines of an application's answer, with what frames it for its visitor. */
export function framedLines(
  head: AnswerHead,
  framing: VisitorFraming,
  isBodiless: boolean,
): string {
  if (isBodiless) return `${head.lines}Content-Length: 0\r\n`;
  return framing === "chunked" ? `${head.lines}Transfer-Encoding: chunked\r\n` : head.lines;
}

/** The head of a 101 (RFC 9110, 7.8). */
export function switchText({ reason, lines, upgrade }: AnswerHead, id: string): string {
  return (
    `HTTP/1.1 101 ${reason}\r\n${lines}Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n` +
    `X-Request-Id: ${id}\r\n\r\n`
  );
}

/** What follows a status where nobody gave a text (RFC 9110, 15: the registered reasons). */
export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? "";
}

let second = 0;
let line = "";

/** `Date: …` with its line end (RFC 9110, 6.6.1), made once a second. */
export function dateLine(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    line = `Date: ${new Date(now * 1000).toUTCString()}\r\n`;
  }
  return line;
}
