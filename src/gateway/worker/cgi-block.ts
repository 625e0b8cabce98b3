/**
 * From a visitor's request to the head an instance reads: the variables of CGI (PROTOCOL section 5;
 * RFC 3875), or HTTP/1.1 for a program that knows nothing of us. One string, each character a byte,
 * written to the instance as it is; without what says where the body ends. Both say the same of a
 * request. The headers are taken one by one, as they came; only where one is repeated are they
 * looked at twice.
 */
import { portStart } from "../../http/host.ts";
import type { RequestHead } from "../../http/request-head.ts";
import { decodePath } from "../../wire/cgi.ts";
import type { AppConfig } from "../config.ts";
import type { Origin } from "../policy/forwarded.ts";
import { ofProxies, HeadFields } from "../policy/request-fields.ts";

/** What the gateway says of itself. */
const serverSoftware = "application-pool-server";

/** No `Connection: name` may take these away: they decide about framing and routing. */
const kept = new Set(["content-length", "transfer-encoding", "host"]);

/** A request, and for which part of which application. */
export interface RoutedRequest {
  readonly head: RequestHead;
  readonly origin: Origin;
  readonly peerIsTrusted: boolean;
  readonly app: AppConfig;
  /** SCRIPT_NAME: where the application is, as bytes; empty at the root. */
  readonly script: string;
  /** The rest of the path, not decoded. */
  readonly below: string;
}

/** A request's head in the form that its instance reads. */
export function headOf(request: RoutedRequest, speaksHttp: boolean): string {
  return speaksHttp ? httpHead(request) : cgiBlock(request);
}

/** The variables, `name NUL value NUL …`. */
function cgiBlock(request: RoutedRequest): string {
  const block = ownVariables(request) + fieldsOf(request, false);
  return block + originVariables(request.origin) + upgradeVariables(request);
}

/**
 * Lines of HTTP/1.1, without the empty one. The path is whole: a program knows no prefix but by
 * X-Forwarded-Prefix.
 */
function httpHead(request: RoutedRequest): string {
  const { head, origin, script } = request;
  const { forwardedFor, scheme, host, id } = origin;
  const protocols = head.upgrade === "" ? "" : offeredProtocols(head);
  return (
    `${head.method} ${head.target.text} HTTP/1.1\r\n` +
    // A request of HTTP/1.0 need not name one (RFC 9112, 3.2).
    (head.host === "" ? "host: localhost\r\n" : `host: ${head.host}\r\n`) +
    fieldsOf(request, true) +
    (forwardedFor === "" ? "" : `x-forwarded-for: ${forwardedFor}\r\n`) +
    `x-forwarded-proto: ${scheme}\r\n` +
    (host === "" ? "" : `x-forwarded-host: ${host}\r\n`) +
    (script === "" ? "" : `x-forwarded-prefix: ${script}\r\n`) +
    `x-request-id: ${id}\r\n` +
    (protocols === "" ? "" : `connection: Upgrade\r\nupgrade: ${protocols}\r\n`)
  );
}

/** The headers that go on, in the form that was made of them, and what that depended on. */
interface MadeFields {
  readonly block: string;
  readonly asLines: boolean;
  readonly peerIsTrusted: boolean;
  readonly host: string;
}

/** The headers that go on, as variables or as lines; the same as before where they are the same. */
function fieldsOf({ head, peerIsTrusted }: RoutedRequest, asLines: boolean): string {
  const { host } = head;
  const made = head.fields.made as MadeFields | undefined;
  const isFit = made?.peerIsTrusted === peerIsTrusted && made.asLines === asLines;
  if (isFit && made.host === host) return made.block;
  const block = makeFields(head, peerIsTrusted, asLines);
  head.fields.made = { block, asLines, peerIsTrusted, host } satisfies MadeFields;
  return block;
}

function makeFields(head: RequestHead, peerIsTrusted: boolean, asLines: boolean): string {
  const { names, values, connection } = head.fields;
  const named = connection === "" ? undefined : namedBy(connection);
  // Of HTTP/1.0 an absolute target may be all that names one.
  const isNamed = asLines || head.host === "" || head.fields.host !== undefined;
  let block = isNamed ? "" : `HTTP_HOST\0${head.host}\0`;
  const fields = head.fields.hasRepeats ? new HeadFields(head.fields) : undefined;
  const done = head.fields.hasRepeats ? new Set<string>() : undefined;
  for (let index = 0; index < names.length; index += 1) {
    const name = names[index];
    if (name === undefined || name.meaning === "" || named?.has(name.lowerCase) === true) continue;
    let variable = name.meaning;
    if (variable.startsWith(ofProxies)) {
      if (!peerIsTrusted) continue;
      variable = variable.slice(ofProxies.length);
    }
    if (asLines && name.role === "host") continue;
    // Of an absolute target it is the host that counts (RFC 9112, 3.2.2).
    let value = name.role === "host" ? head.host : (values[index] ?? "");
    if (done !== undefined) {
      if (done.has(name.lowerCase)) continue;
      done.add(name.lowerCase);
      value = fields?.get(name.lowerCase) ?? value;
    }
    block += asLines ? `${name.lowerCase}: ${value}\r\n` : `${variable}\0${value}\0`;
  }
  return block;
}

/**
 * The protocols that an application may be asked to change to (PROTOCOL section 11); empty: none.
 * Not to HTTP/2, which would be the connection's matter, nor to TLS, which it has or has not.
 */
export function offeredProtocols({ upgrade, framing }: RequestHead): string {
  if (upgrade === "" || framing.kind !== "none") return "";
  const offered = upgrade.split(",").map((protocol) => protocol.trim());
  return offered.filter((protocol) => !/^(?:h2c|tls\b.*)$/i.test(protocol)).join(", ");
}

function upgradeVariables({ head }: RoutedRequest): string {
  const protocols = head.upgrade === "" ? "" : offeredProtocols(head);
  return protocols === "" ? "" : `HTTP_CONNECTION\0upgrade\0HTTP_UPGRADE\0${protocols}\0`;
}

function ownVariables({ head, origin, script, below }: RoutedRequest): string {
  const { text, path } = head.target;
  const query = path.length < text.length ? text.slice(path.length + 1) : "";
  return (
    `REQUEST_METHOD\0${head.method}\0REQUEST_URI\0${text}\0SCRIPT_NAME\0${script}\0` +
    `PATH_INFO\0${decodePath(below)}\0QUERY_STRING\0${query}\0` +
    `SERVER_PROTOCOL\0HTTP/1.${head.minor}\0REMOTE_ADDR\0${origin.remoteAddress}\0`
  );
}

/** Who asks, as the gateway knows it. */
function originVariables(origin: Origin): string {
  const { forwardedFor, id } = origin;
  return (
    (forwardedFor === "" ? "" : `HTTP_X_FORWARDED_FOR\0${forwardedFor}\0`) +
    `HTTP_X_REQUEST_ID\0${id}\0${serverVariables(origin)}`
  );
}

/** Those of the last request, which are mostly those of the next one. */
const last = { host: "", scheme: "", variables: "" };

/** What a request is for, which says who serves it. */
function serverVariables({ host, scheme }: Origin): string {
  if (last.host === host && last.scheme === scheme) return last.variables;
  const isSecure = scheme === "https";
  const port = portStart(host);
  const variables =
    `SERVER_NAME\0${host.slice(0, port) || "localhost"}\0` +
    `SERVER_PORT\0${host.slice(port + 1) || (isSecure ? "443" : "80")}\0` +
    `SERVER_SOFTWARE\0${serverSoftware}\0HTTP_X_FORWARDED_PROTO\0${scheme}\0` +
    (host === "" ? "" : `HTTP_X_FORWARDED_HOST\0${host}\0`) +
    (isSecure ? "HTTPS\0on\0" : "");
  Object.assign(last, { host, scheme, variables });
  return variables;
}

/** The names that Connection lists; undefined: none that would be a header. */
function namedBy(connection: string): Set<string> | undefined {
  if (connection === "keep-alive" || connection === "close") return undefined;
  const names = connection.split(",").map((name) => name.trim());
  return new Set(names.filter((name) => !kept.has(name)));
}
