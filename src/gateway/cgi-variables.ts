/**
 * From an HTTP request to the variables an instance reads (PROTOCOL section 5; RFC 3875): one
 * string, each character a byte, written to the instance as it is. The handler has made the headers
 * what an application may see, but for those that say how the body is framed: they end here.
 */
import { decodePath, hasVariable, variableName } from "../wire/cgi.ts";
import type { AppConfig } from "./config.ts";
import { portStart } from "../http/host.ts";
import { BadRequestError } from "./proxy-errors.ts";
import type { Visit } from "./visit.ts";

/** Names of variables by names of headers; bounded, for visitors choose them. */
const variableNames = new Map<string, string>();
const maxVariableNames = 500;

/** What the gateway says of itself. */
const serverSoftware = "application-pool-server";

/** What instances are sent of a request. */
export interface CgiRequest {
  /** The variables, `name NUL value NUL …`, without CONTENT_LENGTH. */
  readonly block: string;
  /** As announced by the visitor. */
  readonly contentLength: number | undefined;
  /** Whether a body comes in chunks. */
  readonly isChunked: boolean;
}

/** @throws BadRequestError when something of it cannot be said to an instance. */
export function cgiRequest(app: AppConfig, visit: Visit, headers: Headers): CgiRequest {
  let block = ownVariables(app, visit);
  let contentLength: number | undefined;
  let isChunked = false;
  for (const [name, value] of headers) {
    if (name === "content-length") contentLength = Number(value);
    else if (name === "transfer-encoding") isChunked = true;
    else if (hasVariable(name)) block += `${knownVariable(name)}\0${value}\0`;
  }
  return { block, contentLength, isChunked };
}

function ownVariables(app: AppConfig, visit: Visit): string {
  const { target, host, scheme } = visit;
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  const script = app.prefix === "/" ? "" : app.prefix;
  const info = decodePath(path.slice(script.length));
  const port = portStart(host);
  checkBytes(info, target, host);
  const variables =
    `REQUEST_METHOD\0${visit.method}\0REQUEST_URI\0${target}\0SCRIPT_NAME\0${script}\0` +
    `PATH_INFO\0${info}\0QUERY_STRING\0${mark < 0 ? "" : target.slice(mark + 1)}\0` +
    `SERVER_NAME\0${host.slice(0, port) || "localhost"}\0` +
    `SERVER_PORT\0${host.slice(port + 1) || (scheme === "https" ? "443" : "80")}\0` +
    `SERVER_PROTOCOL\0HTTP/1.1\0SERVER_SOFTWARE\0${serverSoftware}\0` +
    `REMOTE_ADDR\0${visit.remoteAddress}\0`;
  return scheme === "https" ? `${variables}HTTPS\0on\0` : variables;
}

/** A NUL would end a value early, and what is no byte would lose its upper half. */
function checkBytes(...values: string[]): void {
  if (values.some((value) => /[\0\u0100-\uffff]/.test(value))) {
    throw new BadRequestError("the request's target or host holds what no application can take");
  }
}

function knownVariable(header: string): string {
  const known = variableNames.get(header);
  if (known !== undefined) return known;
  const name = variableName(header);
  if (variableNames.size < maxVariableNames) variableNames.set(header, name);
  return name;
}
