/**
 * What is refused before anybody is asked. Bun's parser has refused most of what is malformed (see
 * docs/http.md); here is the rest of what can be seen: what would be framed differently by somebody
 * else, what an application cannot be told, and what we do not do.
 */
import { bodyTooLarge } from "./failures.ts";
import { isHost } from "../http/host.ts";
import { faultOf, type Target } from "./target.ts";

export interface Refusal {
  readonly status: number;
  /** For visitors; a sentence without its full stop. */
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/** Why a request is refused; undefined: it is not. @param maxBodyBytes 0: no limit. */
export function refusalOf(
  request: Request,
  target: Target | undefined,
  maxBodyBytes: number,
): Refusal | undefined {
  const { method, headers } = request;
  if (method === "CONNECT" || method === "TRACE") {
    return { status: 405, reason: `${method} is not served here`, headers: { Allow: allowed } };
  }
  const host = headers.get("host");
  if (host !== null && host !== "" && !isHost(host)) {
    return bad("the Host header names no host");
  }
  return (
    targetRefusal(target) ??
    framingRefusal(method, headers) ??
    sizeRefusal(headers, maxBodyBytes) ??
    expectationRefusal(method, headers)
  );
}

function targetRefusal(target: Target | undefined): Refusal | undefined {
  if (target === undefined) return bad("the target is no path");
  const fault = faultOf(target);
  if (fault === undefined) return undefined;
  if (fault === "it is too long") return { status: 414, reason: `the target is refused: ${fault}` };
  return bad(`the target is refused: ${fault}`);
}

/**
 * Bun takes several equal Content-Lengths for one, and drops the body of GET and HEAD without
 * telling us: an application would wait for it in vain.
 */
function framingRefusal(method: string, headers: Headers): Refusal | undefined {
  const length = headers.get("content-length");
  if (length !== null && !/^\d{1,15}$/.test(length)) {
    return bad("the Content-Length is not one number");
  }
  if (method !== "GET" && method !== "HEAD") return undefined;
  const announced = (length !== null && Number(length) > 0) || headers.has("transfer-encoding");
  return announced ? bad(`${method} with a body is not served here`) : undefined;
}

/** Only of a body whose length is announced; others are counted as they come. */
function sizeRefusal(headers: Headers, maxBodyBytes: number): Refusal | undefined {
  const isTooLarge = maxBodyBytes > 0 && Number(headers.get("content-length")) > maxBodyBytes;
  return isTooLarge ? bodyTooLarge : undefined;
}

function expectationRefusal(method: string, headers: Headers): Refusal | undefined {
  const expected = headers.get("expect");
  if (expected !== null && expected.toLowerCase() !== "100-continue") {
    return { status: 417, reason: "only 100-continue can be expected" };
  }
  const upgrade = headers.get("upgrade");
  if (method === "GET" && upgrade !== null && /\bwebsocket\b/i.test(upgrade)) {
    return { status: 501, reason: "WebSocket connections are not served here" };
  }
  return undefined;
}

function bad(reason: string): Refusal {
  return { status: 400, reason };
}
