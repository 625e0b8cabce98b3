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
  /** How many bytes of body come; undefined: it does not say. */
  readonly contentLength: number | undefined;
  readonly isChunked: boolean;
  /** Whether the program gets to see a body; the Web platform knows none with GET and HEAD. */
  readonly mayHaveBody: boolean;
  /** Whether another request may follow on the session. */
  readonly isKept: boolean;
  /** Who asks; empty: the front end does not tell. */
  readonly remoteAddress: string;
  readonly remotePort: string;
}

/** Where the head that starts with these bytes ends; undefined until its size has arrived. */
export function headEnd(bytes: Buffer): number | undefined {
  if (bytes.length < 4) return undefined;
  const size = bytes.readUInt32BE(0);
  if (size > maxHeadBytes)
    throw new BadRequest(`headers of ${size} bytes, ${maxHeadBytes} at most`);
  return 4 + size;
}

/** The variables that say something about more than one header. */
interface Variables {
  method: string;
  uri: string;
  script: string;
  path: string;
  query: string;
  https: string;
  host: string;
  serverName: string;
  serverPort: string;
  contentLength: string;
  remoteAddress: string;
  remotePort: string;
  isChunked: boolean;
  isKept: boolean;
}

/** Reads `name NUL value NUL …` from `start` to `end`. */
export function parseHead(bytes: Buffer, start: number, end: number): RequestHead {
  if (start === end || bytes[end - 1] !== 0) {
    throw new BadRequest("the headers do not end with a NUL");
  }
  const parts = bytes.toString("latin1", start, end - 1).split("\0");
  if (parts.length % 2 !== 0) throw new BadRequest("a header lacks its value");
  const headers = new Headers();
  const variables: Variables = {
    method: "",
    uri: "",
    script: "",
    path: "",
    query: "",
    https: "",
    host: "",
    serverName: "",
    serverPort: "",
    contentLength: "",
    remoteAddress: "",
    remotePort: "",
    isChunked: false,
    isKept: false,
  };
  for (let index = 0; index < parts.length; index += 2) {
    const name = parts[index] ?? "";
    const value = parts[index + 1] ?? "";
    if (name.startsWith("HTTP_")) readHeader(variables, headers, name, value);
    else readVariable(variables, headers, name, value);
  }
  return checked(variables, headers);
}

function readHeader(variables: Variables, headers: Headers, name: string, value: string): void {
  switch (name) {
    // These two say how bytes were framed on the front end's connection, which is not ours.
    case "HTTP_CONNECTION":
      return;
    case "HTTP_TRANSFER_ENCODING":
      variables.isChunked = value.toLowerCase() === "chunked";
      return;
    case "HTTP_CONTENT_LENGTH":
    case "HTTP_CONTENT_TYPE":
      return readVariable(variables, headers, name.slice("HTTP_".length), value);
    case "HTTP_HOST":
      variables.host = value;
      return addHeader(headers, "host", value);
    case "HTTP_COOKIE": {
      // A repeated header means the same as one list (RFC 9110, 5.2), but for cookies.
      const before = headers.get("cookie");
      if (before !== null) headers.delete("cookie");
      return addHeader(headers, "cookie", before === null ? value : `${before}; ${value}`);
    }
    default:
      return addHeader(headers, headerName(name), value);
  }
}

function readVariable(variables: Variables, headers: Headers, name: string, value: string): void {
  switch (name) {
    case "REQUEST_METHOD":
      variables.method = value;
      return;
    case "REQUEST_URI":
      variables.uri = value;
      return;
    case "SCRIPT_NAME":
      variables.script = value;
      return;
    case "PATH_INFO":
      variables.path = value;
      return;
    case "QUERY_STRING":
      variables.query = value;
      return;
    case "HTTPS":
      variables.https = value;
      return;
    case "SERVER_NAME":
      variables.serverName = value;
      return;
    case "SERVER_PORT":
      variables.serverPort = value;
      return;
    case "REMOTE_ADDR":
      variables.remoteAddress = value;
      return;
    case "REMOTE_PORT":
      variables.remotePort = value;
      return;
    case "SESSION_KEEP":
      variables.isKept = value === "1";
      return;
    case "CONTENT_LENGTH":
      return readLength(variables, headers, value);
    case "CONTENT_TYPE":
      // Front ends send this one and the last with HTTP_ before them, without, or both.
      if (value !== "" && !headers.has("content-type")) addHeader(headers, "content-type", value);
      return;
    case "":
      throw new BadRequest("a header lacks its name");
    default: // What else a front end says has no place in a Request.
  }
}

function readLength(variables: Variables, headers: Headers, value: string): void {
  const { contentLength: before } = variables;
  if (value === "") return;
  if (before === "") addHeader(headers, "content-length", value);
  else if (Number(before) !== Number(value)) throw new BadRequest("the body has two lengths");
  variables.contentLength = value;
}

function addHeader(headers: Headers, name: string, value: string): void {
  try {
    headers.append(name, value);
  } catch {
    throw new BadRequest(`the header ${JSON.stringify(name)} is not one of HTTP`);
  }
}

/** Names of headers by variable; programs and clients use few. Bounded, as clients choose them. */
const headerNames = new Map<string, string>();
const maxHeaderNames = 1_000;

function headerName(variable: string): string {
  const known = headerNames.get(variable);
  if (known !== undefined) return known;
  const name = variable.slice("HTTP_".length).toLowerCase().replaceAll("_", "-");
  if (headerNames.size < maxHeaderNames) headerNames.set(variable, name);
  return name;
}

function checked(variables: Variables, headers: Headers): RequestHead {
  const { method, isChunked, isKept, remoteAddress, remotePort } = variables;
  if (method === "") throw new BadRequest("REQUEST_METHOD is missing");
  const contentLength = contentLengthOf(variables.contentLength);
  if (isChunked && contentLength !== undefined) {
    throw new BadRequest("the body has a length and is chunked");
  }
  const mayHaveBody = method !== "GET" && method !== "HEAD";
  const url = urlOf(variables);
  const body = { contentLength, isChunked, mayHaveBody };
  return { method, url, headers, ...body, isKept, remoteAddress, remotePort };
}

function contentLengthOf(text: string): number | undefined {
  if (text === "") return undefined;
  const length = /^[0-9]+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(length)) throw new BadRequest("CONTENT_LENGTH is not a length");
  return length;
}

function urlOf(variables: Variables): string {
  const { https } = variables;
  const isSecure = https !== "" && ["on", "1", "true"].includes(https.toLowerCase());
  const scheme = isSecure ? "https" : "http";
  const target = targetOf(variables);
  if (!target.startsWith("/")) return parsedUrl(target);
  return parsedUrl(`${scheme}://${hostOf(variables, isSecure)}${target}`);
}

function targetOf({ uri, script, path: info, query }: Variables): string {
  if (uri.startsWith("/") || /^https?:\/\//i.test(uri)) return uri;
  // PATH_INFO is decoded (RFC 3875, 4.1.5); what a URL cannot hold is encoded again.
  const path = `${script}${info}`.replace(
    /[^!$&'()*+,\-./0-9:;=@A-Z_a-z~]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
  return `${path.startsWith("/") ? "" : "/"}${path}${query === "" ? "" : `?${query}`}`;
}

/** RFC 9110, 7.2: a host and perhaps a port; anything else would become part of the path. */
const hostForm = /^(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:[\]]+)(?::[0-9]*)?$/;

function hostOf({ host, serverName, serverPort: port }: Variables, isSecure: boolean): string {
  if (host !== "" && !hostForm.test(host)) throw new BadRequest("the host is not one of HTTP");
  if (host !== "") return host;
  if (serverName === "") return "localhost";
  const isUsual = port === "" || port === (isSecure ? "443" : "80");
  return isUsual ? serverName : `${serverName}:${port}`;
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
