/**
 * The headers of an instance's answer as the visitor gets them: in their order, repeated ones apart
 * (Bun joins those of one name with a comma, but for Set-Cookie), without those of the connection
 * (connection-headers.ts). Their form has been checked where the answer was read.
 */
import { SessionError } from "../parent/errors.ts";
import type { SessionResponse } from "../parent/response.ts";
import { connectionHeaders, connectionTokens } from "./connection-headers.ts";

type Header = readonly [name: string, value: string];

/** Bun frames the answer anew. */
const dropped = new Set([...connectionHeaders, "transfer-encoding"]);

/**
 * @param keepsLength whether Content-Length says something of a body that is not sent. Where a body
 * is sent, Bun counts it.
 * @param isHead whether a body without length is to be announced as it would be sent.
 */
export function answerHeaders(
  headers: readonly Header[],
  keepsLength: boolean,
  isHead: boolean,
): [string, string][] {
  const passed: [string, string][] = [];
  let named: string | undefined;
  let hasLength = false;
  for (const [name, value] of headers) {
    const lowerCase = name.toLowerCase();
    if (lowerCase === "connection") named = value;
    if (dropped.has(lowerCase)) continue;
    if (lowerCase === "content-length") {
      if (!keepsLength) continue;
      hasLength = true;
    }
    passed.push([name, value]);
  }
  if (isHead && !hasLength) passed.push(["Transfer-Encoding", "chunked"]);
  return named === undefined ? passed : withoutNamed(passed, named);
}

function withoutNamed(headers: [string, string][], connection: string): [string, string][] {
  const names = connectionTokens(connection);
  return headers.filter(([name]) => !names.includes(name.toLowerCase()));
}

/** @throws SessionError when the status is none that may end an exchange. */
export function checkStatus({ status, pid }: SessionResponse): void {
  if (status >= 200 && status <= 599) return;
  throw new SessionError(`request to instance ${pid}: its answer has the status ${status}`, true);
}
