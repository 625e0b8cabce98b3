/**
 * Why a request is refused: each rule with the section that rules, the status that is answered, and
 * what the visitor is told. After a refusal nothing more is read of the connection: where the next
 * request would begin is not sure.
 */

export interface Refusal {
  readonly kind: "refusal";
  readonly status: number;
  /** For visitors; a sentence without its full stop. */
  readonly reason: string;
  /** Where the rule stands; empty: a bound of ours. */
  readonly section: string;
  /** Header lines of the answer, each with its line end. */
  readonly fields: string;
}

/** @param section empty: it is a rule of ours. */
export function rule(status: number, reason: string, section = "", fields = ""): Refusal {
  return { kind: "refusal", status, reason, section, fields };
}

/** What CONNECT and TRACE are answered with (RFC 9110, 15.5.6). */
const allow = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";

export const refusals = {
  lineEnd: rule(400, "a line of its head does not end with CRLF", "RFC 9112, 2.2"),
  control: rule(400, "its head holds a control character", "RFC 9110, 5.5"),
  requestLine: rule(400, "its first line is no request line", "RFC 9112, 3"),
  version: rule(505, "only HTTP/1.1 and HTTP/1.0 are served here", "RFC 9110, 15.6.6"),
  method: rule(400, "the method is no token", "RFC 9110, 9.1"),
  methodLength: rule(501, "the method is too long", "RFC 9112, 3"),
  methodCase: rule(501, "methods are written in capitals", "RFC 9110, 9.1"),
  methodRefused: rule(405, "the method is not served here", "RFC 9110, 9.3.6, 9.3.8", allow),
  headTooLarge: rule(431, "its head is too large", "RFC 6585, 5"),
  tooManyFields: rule(431, "it has too many headers", "RFC 6585, 5"),
  fieldLine: rule(400, "a line of its head is no header", "RFC 9112, 5"),
  folded: rule(400, "a header is folded", "RFC 9112, 5.2"),
  blankBeforeColon: rule(
    400,
    "there is a blank between a header's name and its colon",
    "RFC 9112, 5.1",
  ),
  fieldName: rule(400, "a header's name is no token", "RFC 9110, 5.1"),
  hostMissing: rule(400, "it has no Host header", "RFC 9112, 3.2"),
  hostTwice: rule(400, "it has more than one Host header", "RFC 9112, 3.2"),
  host: rule(400, "the Host header names no host", "RFC 9112, 3.2"),
  length: rule(400, "the Content-Length is not one number", "RFC 9112, 6.3"),
  lengthTwice: rule(400, "it has more than one Content-Length", "RFC 9112, 6.3"),
  coding: rule(400, "the Transfer-Encoding is not chunked", "RFC 9112, 6.1"),
  codingTwice: rule(400, "it has more than one Transfer-Encoding", "RFC 9112, 6.1"),
  codingAndLength: rule(400, "it has both Content-Length and Transfer-Encoding", "RFC 9112, 6.1"),
  codingInOld: rule(400, "HTTP/1.0 knows no Transfer-Encoding", "RFC 9112, 6.1"),
  chunk: rule(400, "its chunks are malformed", "RFC 9112, 7.1"),
  expectation: rule(417, "only 100-continue can be expected", "RFC 9110, 10.1.1"),
  targetForm: rule(400, "the target is no path", "RFC 9112, 3.2"),
  targetScheme: rule(400, "the target's scheme is not served here", "RFC 9110, 7.4"),
  targetUser: rule(400, "the target names a user", "RFC 9110, 4.2.4"),
  targetHost: rule(400, "the target names no host", "RFC 9110, 4.2.1"),
  targetTooLong: rule(414, "the target is refused: it is too long", "RFC 9110, 15.5.15"),
  targetFragment: rule(400, "the target is refused: it has a fragment", "RFC 9112, 3.2.1"),
  targetEscape: rule(400, "the target is refused: its escapes are not right", "RFC 3986, 2.1"),
  targetNul: rule(400, "the target is refused: its escapes hide a NUL"),
  targetWayUp: rule(400, "the target is refused: it leads up", "RFC 3986, 6.2.2.3"),
} as const satisfies Record<string, Refusal>;
