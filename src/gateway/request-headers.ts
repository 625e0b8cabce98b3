/**
 * Makes a request's headers what an application may see: without those of the connection
 * (connection-headers.ts), without those a visitor could use to pass for a proxy, and with those
 * that say who asks. Content-Length and Transfer-Encoding stay: they say whether there is a body.
 */
import { connectionHeaders, connectionTokens } from "./connection-headers.ts";
import type { Origin } from "./forwarded.ts";

/** Expect has been answered, by Bun. */
const connectionNames = [...connectionHeaders, "expect"];

/**
 * What frameworks believe about proxies, from whomever it comes; the last two let a visitor choose
 * how files are sent (Rack::Sendfile).
 */
const proxyNames = [
  "forwarded",
  "x-forwarded-port",
  "x-forwarded-ssl",
  "x-forwarded-scheme",
  "x-forwarded-server",
  "x-forwarded-prefix",
  "front-end-https",
  "x-original-url",
  "x-rewrite-url",
  "x-sendfile-type",
  "x-accel-mapping",
];

/** Other names for the visitor's address: as a trusted proxy has set them, or not at all. */
const addressNames = ["x-real-ip", "client-ip", "x-client-ip", "true-client-ip"];

/** What no `Connection: name` may take away: it decides about framing and routing. */
const kept = new Set(["content-length", "transfer-encoding", "host"]);

export function presentHeaders(headers: Headers, origin: Origin, peerIsTrusted: boolean): void {
  const connection = headers.get("connection");
  if (connection !== null) dropListed(headers, connection);
  for (const name of connectionNames) headers.delete(name);
  for (const name of proxyNames) headers.delete(name);
  if (!peerIsTrusted) for (const name of addressNames) headers.delete(name);
  set(headers, "x-forwarded-for", origin.forwardedFor);
  set(headers, "x-forwarded-proto", origin.scheme);
  set(headers, "x-forwarded-host", origin.host);
  set(headers, "x-request-id", origin.id);
}

/** Whether the visitor asks for the connection to be closed after the answer. */
export function asksToClose(headers: Headers): boolean {
  const connection = headers.get("connection");
  return (
    connection !== null &&
    connection !== "keep-alive" &&
    connectionTokens(connection).includes("close")
  );
}

function dropListed(headers: Headers, connection: string): void {
  if (connection === "keep-alive" || connection === "close") return;
  for (const name of connectionTokens(connection)) {
    if (/^[\w!#$%&'*+.^`|~-]+$/.test(name) && !kept.has(name)) headers.delete(name);
  }
}

function set(headers: Headers, name: string, value: string): void {
  if (value === "") headers.delete(name);
  else headers.set(name, value);
}
