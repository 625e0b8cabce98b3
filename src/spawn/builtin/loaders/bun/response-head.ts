/** The head of a Response in CGI form (RFC 3875, 6.3), as a byte string. Runs inside instances. */
import { connectionHeaders, withoutNamed } from "../javascript/connection-headers.ts";

/** How the body is sent: as a whole, of a type if none is named, or in chunks. */
export type Framing = { readonly type?: string; readonly length: number } | "chunked";

/**
 * `Status: 200 OK`, the headers with repeated ones kept, and the empty line.
 * @param framing absent: as the headers say. @param isHead whether the body is left out, so that
 * the program knows best how long it would be. @param more lines of our own.
 */
export function encodeResponseHead(
  response: Response,
  more: string,
  framing?: Framing,
  isHead = false,
): string {
  const { headers } = response;
  const reason = reasonOf(response);
  let head = `Status: ${response.status}${reason === "" ? "" : ` ${reason}`}\r\n`;
  let isLengthOurs = false;
  let connection = "";
  if (framing === "chunked") {
    head += "transfer-encoding: chunked\r\n";
  } else if (framing !== undefined) {
    const { type, length } = framing;
    if (type !== undefined && !headers.has("content-type")) head += `content-type: ${type}\r\n`;
    isLengthOurs = !(isHead && headers.has("content-length"));
    if (isLengthOurs) head += `content-length: ${length}\r\n`;
  }
  // Without an iterator, which makes a list of each header.
  headers.forEach((value, name) => {
    if (isLengthOurs && name === "content-length") return;
    if (!connectionHeaders.has(name)) head += `${name}: ${value}\r\n`;
    else if (name === "connection") connection = value;
  });
  if (connection !== "") head = withoutNamed(head.split("\r\n"), connection).join("\r\n");
  return `${head}${more}\r\n`;
}

/** Whether HTTP allows the answer a body (RFC 9110, 6.4.1). */
export function mayHaveBody(method: string, status: number): boolean {
  return method !== "HEAD" && status >= 200 && status !== 204 && status !== 304;
}

const reasons: Readonly<Record<number, string>> = {
  200: "OK",
  201: "Created",
  202: "Accepted",
  204: "No Content",
  206: "Partial Content",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

function reasonOf(response: Response): string {
  const given = response.statusText;
  // A status text is free text; only what fits a line of ASCII is sent on.
  if (given !== "" && /^[ -~]+$/.test(given)) return given;
  return reasons[response.status] ?? "";
}
