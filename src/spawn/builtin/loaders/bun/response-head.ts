/** The head of a Response in CGI form (RFC 3875, 6.3), as a byte string. Runs inside instances. */

/** They describe a connection, which the session is not; the front end frames its own. */
const ofTheConnection = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "status",
  "transfer-encoding",
  "upgrade",
]);

/** What is known of a body that is there as a whole. */
export interface WholeBody {
  readonly type: string;
  readonly length: number;
}

/** `Status: 200 OK`, the headers with repeated ones kept, and the empty line. */
export function encodeResponseHead(response: Response, whole?: WholeBody): string {
  const { headers } = response;
  const reason = reasonOf(response);
  let head = `Status: ${response.status}${reason === "" ? "" : ` ${reason}`}\r\n`;
  if (whole !== undefined) {
    if (!headers.has("content-type")) head += `content-type: ${whole.type}\r\n`;
    if (!headers.has("content-length")) head += `content-length: ${whole.length}\r\n`;
  }
  for (const [name, value] of headers) {
    if (!ofTheConnection.has(name)) head += `${name}: ${value}\r\n`;
  }
  return `${head}\r\n`;
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
