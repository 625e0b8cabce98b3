/**
 * Raw requests, what is answered, and what reaches the application. docs/http.md shows them as a
 * table. Every request asks for the connection to be closed, so that the end of the answer is the
 * end of the connection, unless it is about connections that stay.
 */
import type { Step } from "./raw-exchange.ts";

export interface RawCase {
  /** Unique; the row's first column. */
  readonly title: string;
  /** Bytes, one per character, or steps. */
  readonly sent: string | readonly Step[];
  /** The statuses answered; empty: the connection is closed without an answer. */
  readonly answers: readonly number[];
  /** What the application gets: method, target and body. */
  readonly reached?: readonly string[];
  /** Also the value of this header. */
  readonly header?: readonly [name: string, value: string | undefined];
  /** Applications show it each in its own way: as a URL, or not at all. */
  readonly varies?: boolean;
  /** It takes seconds: a limit of time is what it is about. */
  readonly slow?: boolean;
  /** How long the application works on it. */
  readonly workMs?: number;
}

export interface RawSection {
  readonly title: string;
  readonly cases: readonly RawCase[];
}

export const host = "Host: a.example\r\nConnection: close\r\n";
/** A connection that stays. */
export const staying = "Host: a.example\r\n";

export function get(target: string, headers = ""): string {
  return `GET ${target} HTTP/1.1\r\n${host}${headers}\r\n`;
}

export function post(headers: string, body: string): string {
  return `POST / HTTP/1.1\r\n${host}${headers}\r\n${body}`;
}

/** What is refused, and reaches nobody. */
export function refused(title: string, sent: string | readonly Step[], status = 400): RawCase {
  return { title, sent, answers: [status] };
}

export function served(
  title: string,
  sent: string | readonly Step[],
  ...reached: string[]
): RawCase {
  return { title, sent, answers: reached.map(() => 200), reached };
}

/** What an application gets of a POST whose body is `hello`. */
export const hello = "POST / hello";
