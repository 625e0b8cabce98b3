/**
 * From the web's Request to CGI and back: what an HTTP front end does with every request, made of
 * the connection's `request`.
 */
import { causeText } from "../wire/cause.ts";
import { decodePath, hasVariable, variableName } from "../wire/cgi.ts";
import type { Application, ApplicationOptions } from "./application.ts";
import type { PoolConnection } from "./connection.ts";
import { SessionError } from "./errors.ts";
import type { SessionResponse } from "./response.ts";

/** What the front end knows of a request beyond the Request. */
export interface RequestOrigin {
  /** The client's address; default empty. */
  readonly remoteAddress?: string;
  /** The prefix of the path it is mounted at, without a slash at its end; default none. */
  readonly scriptName?: string;
}

/** The CGI headers (RFC 3875) of a request. */
export function cgiHeaders(request: Request, origin: RequestOrigin = {}): [string, string][] {
  const url = new URL(request.url);
  const script = origin.scriptName ?? "";
  const isHttps = url.protocol === "https:";
  const headers: [string, string][] = [
    ["REQUEST_METHOD", request.method],
    ["REQUEST_URI", url.pathname + url.search],
    ["SCRIPT_NAME", script],
    ["PATH_INFO", decodePath(url.pathname.slice(script.length))],
    ["QUERY_STRING", url.search.slice(1)],
    ["SERVER_NAME", url.hostname],
    ["SERVER_PORT", url.port === "" ? (isHttps ? "443" : "80") : url.port],
    ["SERVER_PROTOCOL", "HTTP/1.1"],
    ["REMOTE_ADDR", origin.remoteAddress ?? ""],
  ];
  if (isHttps) headers.push(["HTTPS", "on"]);
  for (const [name, value] of request.headers) {
    if (name === "transfer-encoding" || !hasVariable(name)) continue;
    headers.push([variableName(name), value]);
  }
  return headers;
}

/**
 * Serves a request by an application, on a session that may be a kept one; the answer is a Response
 * whose body is read from the instance as it is consumed. Aborting the request's signal ends it.
 * @throws the errors of PoolConnection.request (as rejections).
 */
export async function fetchFrom(
  connection: PoolConnection,
  app: Application | ApplicationOptions | string,
  request: Request,
  origin: RequestOrigin = {},
): Promise<Response> {
  const { body, signal } = request;
  const headers = cgiHeaders(request, origin);
  return toResponse(await connection.request(app, { headers, body, signal }));
}

function toResponse(answer: SessionResponse): Response {
  const headers = new Headers();
  for (const [name, value] of answer.headers) headers.append(name, value);
  const { status, statusText, pid } = answer;
  const whole = answer.takeWholeBody();
  try {
    const isNullBody = whole?.length === 0;
    return new Response(isNullBody ? null : (whole ?? answer.body), {
      status,
      statusText,
      headers,
    });
  } catch (cause) {
    answer.cancel();
    const why = causeText(cause);
    throw new SessionError(`request to instance ${pid}: status ${status}: ${why}`, true, { cause });
  }
}
