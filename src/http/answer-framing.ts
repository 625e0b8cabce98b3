/**
 * How an answer is framed for its visitor (RFC 9112, 6.3): by its length where that is known, in
 * chunks where the visitor knows them (HTTP/1.1), else by the end of the connection. An answer that
 * breaks off never looks whole: too few bytes, no last chunk, or, where only the end tells, a
 * reset.
 */
import type { AnswerHead } from "../wire/answer-head.ts";

export type VisitorFraming =
  /** There is no body, or it is as long as its Content-Length says. */
  "length" | "chunked" | "close";

/** @param minor of the visitor's HTTP/1.x. */
export function framingFor(head: AnswerHead, minor: 0 | 1): VisitorFraming {
  if (head.framing.kind === "none" || head.framing.kind === "length") return "length";
  return minor === 1 ? "chunked" : "close";
}

/** What a connection says of its end, if that is not what the visitor expects (RFC 9112, 9.3). */
export function connectionLine(closes: boolean, minor: 0 | 1): string {
  if (closes) return "Connection: close\r\n";
  return minor === 0 ? "Connection: keep-alive\r\n" : "";
}
