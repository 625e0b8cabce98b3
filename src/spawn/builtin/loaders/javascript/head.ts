/**
 * The head of a request on a session (PROTOCOL sections 5 and 11), for the loaders of JavaScript.
 * Runs inside instances. Strings are bytes (0-255), as headers are in Node and on the Web platform.
 * Refuses what is no HTTP, so that no parser behind it sees anything else.
 */
declare global {
  interface Buffer {
    /** As toString, without its look at what the arguments are; both runtimes have it. */
    latin1Slice(start?: number, end?: number): string;
  }
}

/** The most bytes of headers that are read. */
const maxHeadBytes = 128 * 1024;

/** The head breaks the protocol, is no HTTP, or cannot be said here: how it is answered. */
export class BadRequest extends Error {
  /** Number and reason. */
  readonly status: string;

  constructor(message: string, status = "400 Bad Request") {
    super(message);
    this.status = status;
  }
}

/** A method that the runtime has no word for (RFC 9110, 9.1: 501); what is none at all is 400. */
export function unknownMethod(method: string): BadRequest {
  const isToken = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method);
  const status = isToken ? "501 Not Implemented" : undefined;
  return new BadRequest(`the method ${method} cannot be served`, status);
}

/** What a variable is: a header by its name, a property of the head, or special. */
interface Meaning {
  readonly header: string | undefined;
  readonly property: Property | undefined;
  readonly special: Role;
}

interface Variable extends Meaning {
  readonly name: string;
  /** With its NUL. */
  readonly key: string;
  /** A value of it that is remembered, and how many others have come. */
  last: string;
  changes: number;
}

/**
 * Variables that have come: a header, by its name as here; a property of the head; something else,
 * by a number of `is`. Programs and clients use few; bounded, as clients choose them.
 */
const variables = new Map<string, Variable>();
const maxVariables = 1_000;

/**
 * What came last at each place of a head: front ends send them in the same order mostly, and to
 * compare is cheaper than to take a name out and look it up. So it is with values, of which most
 * are those of the request before: a short one that comes is remembered now and then.
 */
const lastAt: Variable[] = [];
const maxPlaces = 64;
const maxValueLength = 256;
const rememberEvery = 16;

const is = {
  nothing: 0,
  length: 1,
  type: 2,
  connection: 3,
  coding: 4,
  keep: 5,
  host: 6,
  upgrade: 7,
} as const;
type Role = (typeof is)[keyof typeof is];

const special: Readonly<Record<string, Role>> = {
  CONTENT_LENGTH: is.length,
  HTTP_CONTENT_LENGTH: is.length,
  CONTENT_TYPE: is.type,
  HTTP_CONTENT_TYPE: is.type,
  HTTP_CONNECTION: is.connection,
  HTTP_KEEP_ALIVE: is.nothing,
  HTTP_TRANSFER_ENCODING: is.coding,
  HTTP_UPGRADE: is.upgrade,
  HTTP_HOST: is.host,
  SESSION_KEEP: is.keep,
};

/** Variables that the head has as properties, empty where they are missing. */
const properties = {
  REQUEST_METHOD: "method",
  REQUEST_URI: "uri",
  SCRIPT_NAME: "script",
  PATH_INFO: "path",
  QUERY_STRING: "query",
  HTTPS: "https",
  SERVER_NAME: "serverName",
  SERVER_ADDR: "serverAddress",
  SERVER_PORT: "serverPort",
  SERVER_PROTOCOL: "protocol",
  REMOTE_ADDR: "remoteAddress",
  REMOTE_PORT: "remotePort",
} as const;
type Property = (typeof properties)[keyof typeof properties];

export class Head {
  method = "";
  uri = "";
  script = "";
  path = "";
  query = "";
  https = "";
  serverName = "";
  serverAddress = "";
  serverPort = "";
  protocol = "";
  remoteAddress = "";
  remotePort = "";
  host = "";
  /** Name, value, name, value: what the application is to see, in lower case. */
  readonly headers: string[] = [];
  /** Bytes of body to come; undefined: not told. */
  contentLength: number | undefined = undefined;
  isChunked = false;
  /** Whether the client frames as in HTTP/1.1, and another request may follow. */
  isKept = false;
  /** The protocol that is asked for; empty: none. */
  upgrade = "";
  connection = "";
  hasType = false;

  get isSecure(): boolean {
    return this.https !== "" && /^(?:on|1|true)$/i.test(this.https);
  }

  /** What HTTP calls the request target, as the visitor sent it. */
  get target(): string {
    return this.uri === "" ? targetOfPath(this) : this.uri;
  }
}

/** Where the head that starts with these bytes ends; undefined until its size has arrived. */
export function headEnd(bytes: Buffer): number | undefined {
  if (bytes.length < 4) return undefined;
  const size = bytes.readUInt32BE(0);
  if (size <= maxHeadBytes) return 4 + size;
  throw new BadRequest(`headers of ${size} bytes, ${maxHeadBytes} at most`);
}

/** Reads `name NUL value NUL …` from byte 4, after the size, to `end`. */
export function parseHead(bytes: Buffer, end: number): Head {
  if (end === 4 || bytes[end - 1] !== 0) {
    throw new BadRequest("the headers do not end with a NUL");
  }
  const text = bytes.latin1Slice(4, end);
  // What would be a line of its own to a parser of HTTP; which refuses other control characters.
  if (text.includes("\n") || text.includes("\r")) refuseLineEnd(text);
  const head = new Head();
  for (let at = 0, place = 0; at < text.length; place += 1) {
    let variable = lastAt[place];
    if (variable === undefined || !text.startsWith(variable.key, at)) {
      variable = variableAt(text, at, place);
    }
    at += variable.key.length;
    const value = valueAt(text, at, variable);
    at += value.length + 1;
    if (variable.header !== undefined) head.headers.push(variable.header, value);
    else if (variable.property !== undefined) head[variable.property] = value;
    else addSpecial(head, variable.special, value);
  }
  return checked(head);
}

function valueAt(text: string, start: number, variable: Variable): string {
  const { last } = variable;
  if (text.startsWith(last, start) && text.charCodeAt(start + last.length) === 0) return last;
  const end = text.indexOf("\0", start);
  if (end < 0) throw new BadRequest("a header lacks its value");
  const value = text.slice(start, end);
  variable.changes += 1;
  if (variable.changes % rememberEvery !== 0 || value.length > maxValueLength) return value;
  variable.last = copyOf(value);
  return variable.last;
}

/** A slice would keep the whole head. */
function copyOf(text: string): string {
  return Buffer.from(text, "latin1").latin1Slice();
}

function variableAt(text: string, start: number, place: number): Variable {
  const name = text.slice(start, text.indexOf("\0", start));
  let variable = variables.get(name);
  if (variable === undefined) {
    variable = newVariable(copyOf(name));
    if (variables.size < maxVariables) variables.set(variable.name, variable);
  }
  if (place < maxPlaces) lastAt[place] = variable;
  return variable;
}

function newVariable(name: string): Variable {
  return { name, key: `${name}\0`, last: "", changes: 0, ...meaningOf(name) };
}

/** Always the same three, so that all variables have one shape. */
function meaningOf(variable: string): Meaning {
  const [header, property] = [undefined, undefined];
  if (Object.hasOwn(special, variable)) {
    return { header, property, special: special[variable] ?? is.nothing };
  }
  if (Object.hasOwn(properties, variable)) {
    return {
      header,
      property: properties[variable as keyof typeof properties],
      special: is.nothing,
    };
  }
  if (variable === "") throw new BadRequest("a header lacks its name");
  if (!variable.startsWith("HTTP_")) return { header, property, special: is.nothing };
  const name = variable.slice("HTTP_".length).toLowerCase().replaceAll("_", "-");
  if (/^[!#$%&'*+.^`|~0-9a-z-]+$/.test(name)) {
    return { header: name, property, special: is.nothing };
  }
  throw new BadRequest(`the header ${JSON.stringify(name)} is not one of HTTP`);
}

function addSpecial(head: Head, role: Role, value: string): void {
  switch (role) {
    case is.length:
      addLength(head, value);
      return;
    case is.type:
      // Front ends send it with HTTP_ before it, without, or both.
      if (value === "" || head.hasType) return;
      head.hasType = true;
      head.headers.push("content-type", value);
      return;
    case is.connection:
      head.connection += `${value},`;
      return;
    case is.coding:
      head.isChunked = value.toLowerCase() === "chunked";
      return;
    case is.keep:
      head.isKept = value === "1";
      return;
    case is.host:
      head.host = value;
      head.headers.push("host", value);
      return;
    case is.upgrade:
      head.upgrade = value;
      return;
    default: // What else a front end says is nothing to the application.
  }
}

/** As the type: in either form, or in both. */
function addLength(head: Head, value: string): void {
  if (value === "") return;
  const length = /^[0-9]{1,16}$/.test(value) ? Number(value) : NaN;
  if (!Number.isSafeInteger(length)) throw new BadRequest("CONTENT_LENGTH is not a length");
  if (head.contentLength === undefined) head.headers.push("content-length", value);
  else if (head.contentLength !== length) throw new BadRequest("the body has two lengths");
  head.contentLength = length;
}

/** Paths are decoded: `%0D` is one there, and is encoded again before anybody sees it. */
const decoded = new Set(["PATH_INFO", "SCRIPT_NAME"]);

function refuseLineEnd(text: string): void {
  const parts = text.split("\0");
  const index = parts.findIndex((part, at) => {
    return /[\r\n]/.test(part) && (at % 2 === 0 || !decoded.has(parts[at - 1] ?? ""));
  });
  if (index < 0) return;
  const name = JSON.stringify(parts[index - (index % 2)]);
  throw new BadRequest(`the header ${name} holds a line end`);
}

/** What a request cannot be without. */
function checked(head: Head): Head {
  if (head.method === "") throw new BadRequest("REQUEST_METHOD is missing");
  if (head.isChunked && head.contentLength !== undefined) {
    throw new BadRequest("the body has a length and is chunked");
  }
  if (head.upgrade !== "") checkUpgrade(head);
  return head;
}

/** Only who follows PROTOCOL section 11 is able to change the protocol. */
function checkUpgrade(head: Head): void {
  const isAsked = head.isKept && /(?:^|,)[ \t]*upgrade[ \t]*,/i.test(head.connection);
  const hasBody = head.isChunked || (head.contentLength ?? 0) > 0;
  if (!isAsked || hasBody) head.upgrade = "";
}

function targetOfPath({ script, path, query }: Head): string {
  // PATH_INFO is decoded (RFC 3875, 4.1.5); what a URL cannot hold is encoded again.
  const encoded = `${script}${path}`.replace(/[^!$&'()*+,\-./0-9:;=@A-Z_a-z~]/g, encodedByte);
  return `${encoded.startsWith("/") ? "" : "/"}${encoded}${query === "" ? "" : `?${query}`}`;
}

/** Those that the platform's parser takes. */
let methods: ReadonlySet<string> | undefined;

/** Parsers take ASCII alone, as HTTP does; clients that send more mean it encoded. */
function plainTarget(target: string): string {
  if (/^[!-~]+$/.test(target)) return target;
  if (/^[!-~\x80-\xff]+$/.test(target)) return target.replace(/[\x80-\xff]/g, encodedByte);
  throw new BadRequest("the request target is not one of HTTP");
}

function encodedByte(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

/**
 * The same as a head of HTTP/1.1, for the platform's own parser. What it says of a body: that it
 * has a length, is to come in chunks (`hasChunks`), or that there is none. @param more lines to
 * come first.
 */
export function httpHead(head: Head, hasChunks: boolean, more = ""): string {
  const { headers } = head;
  // Bun needs a while for this module, and not always the module.
  methods ??= new Set((require("node:http") as typeof import("node:http")).METHODS);
  if (!methods.has(head.method)) throw unknownMethod(head.method);
  let text = `${head.method} ${plainTarget(head.target)} HTTP/1.1\r\n${more}`;
  for (let index = 0; index < headers.length; index += 2) {
    text += `${headers[index]}: ${headers[index + 1]}\r\n`;
  }
  // Programs look at this header to know that there is a body.
  if (hasChunks) text += "transfer-encoding: chunked\r\n";
  if (head.upgrade !== "") text += `connection: Upgrade\r\nupgrade: ${head.upgrade}\r\n`;
  return `${text}\r\n`;
}
