/**
 * The head of a session (PROTOCOL section 5) as the parts of a Request. Runs inside instances, so
 * it imports nothing of the server; strings are bytes (0–255), as headers are on the Web platform
 * too.
 */

/** The most bytes of headers that are read. */
export const maxHeadBytes = 128 * 1024;

/** The head breaks the protocol or is no HTTP: answered with 400. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";
}

export interface RequestHead {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  /** How many bytes of body come; undefined: until the client ends its side. */
  readonly contentLength: number | undefined;
  /** Whether a body can come at all; the Web platform knows none with GET and HEAD. */
  readonly mayHaveBody: boolean;
}

/** Where the head that starts with these bytes ends; undefined until its size has arrived. */
export function headEnd(bytes: Buffer): number | undefined {
  if (bytes.length < 4) return undefined;
  const size = bytes.readUInt32BE(0);
  if (size > maxHeadBytes)
    throw new BadRequest(`headers of ${size} bytes, ${maxHeadBytes} at most`);
  return 4 + size;
}

/** Reads `name NUL value NUL …`. */
export function parseHead(payload: Buffer): RequestHead {
  const variables = parseVariables(payload);
  const method = variables.get("REQUEST_METHOD");
  if (method === undefined || method === "") throw new BadRequest("REQUEST_METHOD is missing");
  const mayHaveBody = method !== "GET" && method !== "HEAD";
  return {
    method,
    url: urlOf(variables),
    headers: headersOf(variables),
    contentLength: contentLengthOf(variables),
    mayHaveBody,
  };
}

function parseVariables(payload: Buffer): Map<string, string> {
  if (payload.length === 0 || payload.at(-1) !== 0) {
    throw new BadRequest("the headers do not end with a NUL");
  }
  const parts = payload.toString("latin1", 0, payload.length - 1).split("\0");
  if (parts.length % 2 !== 0) throw new BadRequest("a header lacks its value");
  const variables = new Map<string, string>();
  for (let index = 0; index < parts.length; index += 2) {
    const name = parts[index] ?? "";
    const value = parts[index + 1] ?? "";
    if (name === "") throw new BadRequest("a header lacks its name");
    const before = name.startsWith("HTTP_") ? variables.get(name) : undefined;
    // A repeated header means the same as one list (RFC 9110, 5.2), but for cookies.
    const separator = name === "HTTP_COOKIE" ? "; " : ", ";
    variables.set(name, before === undefined ? value : `${before}${separator}${value}`);
  }
  return variables;
}

function contentLengthOf(variables: Map<string, string>): number | undefined {
  const text = variables.get("CONTENT_LENGTH");
  if (text === undefined || text === "") return undefined;
  const length = /^[0-9]+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(length)) throw new BadRequest("CONTENT_LENGTH is not a length");
  return length;
}

function headersOf(variables: Map<string, string>): Headers {
  const headers = new Headers();
  for (const [name, value] of variables) {
    const header = headerName(name);
    if (header === undefined || (value === "" && !name.startsWith("HTTP_"))) continue;
    try {
      headers.set(header, value);
    } catch {
      throw new BadRequest(`the header ${JSON.stringify(header)} is not one of HTTP`);
    }
  }
  return headers;
}

function headerName(variable: string): string | undefined {
  if (variable === "CONTENT_TYPE") return "content-type";
  if (variable === "CONTENT_LENGTH") return "content-length";
  // These two say how bytes were framed on the front end's connection, which is not ours.
  if (variable === "HTTP_CONNECTION" || variable === "HTTP_TRANSFER_ENCODING") return undefined;
  if (!variable.startsWith("HTTP_")) return undefined;
  return variable.slice("HTTP_".length).toLowerCase().replaceAll("_", "-");
}

function urlOf(variables: Map<string, string>): string {
  const isSecure = ["on", "1", "true"].includes((variables.get("HTTPS") ?? "").toLowerCase());
  const scheme = isSecure ? "https" : "http";
  const target = targetOf(variables);
  if (/^https?:\/\//i.test(target)) return parsedUrl(target);
  return parsedUrl(`${scheme}://${hostOf(variables, isSecure)}${target}`);
}

function targetOf(variables: Map<string, string>): string {
  const uri = variables.get("REQUEST_URI") ?? "";
  if (uri.startsWith("/") || /^https?:\/\//i.test(uri)) return uri;
  const query = variables.get("QUERY_STRING") ?? "";
  const script = variables.get("SCRIPT_NAME") ?? "";
  // PATH_INFO is decoded (RFC 3875, 4.1.5); what a URL cannot hold is encoded again.
  const path = `${script}${variables.get("PATH_INFO") ?? ""}`.replace(
    /[^!$&'()*+,\-./0-9:;=@A-Z_a-z~]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
  return `${path.startsWith("/") ? "" : "/"}${path}${query === "" ? "" : `?${query}`}`;
}

/** RFC 9110, 7.2: a host and perhaps a port; anything else would become part of the path. */
const hostForm = /^(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:[\]]+)(?::[0-9]*)?$/;

function hostOf(variables: Map<string, string>, isSecure: boolean): string {
  const host = variables.get("HTTP_HOST") ?? "";
  if (host !== "" && !hostForm.test(host)) throw new BadRequest("the host is not one of HTTP");
  if (host !== "") return host;
  const name = variables.get("SERVER_NAME") ?? "";
  const port = variables.get("SERVER_PORT") ?? "";
  if (name === "") return "localhost";
  return port === "" || port === (isSecure ? "443" : "80") ? name : `${name}:${port}`;
}

function parsedUrl(text: string): string {
  try {
    const url = new URL(text);
    if (url.username !== "" || url.password !== "")
      throw new BadRequest("the host has a user name");
    return url.href;
  } catch (error) {
    if (error instanceof BadRequest) throw error;
    throw new BadRequest("the host or the request target is not one of HTTP");
  }
}
