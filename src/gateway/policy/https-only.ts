/** What keeps visitors on TLS: the redirect of plain requests, and HSTS (RFC 6797). */
import type { TlsConfig } from "../config.ts";
import type { Origin, Peer } from "./forwarded.ts";
import { portStart } from "../../http/host.ts";
import type { Refusal } from "../../http/refusals.ts";

/**
 * The redirect of a request that came without TLS; undefined: it is served. What comes over a Unix
 * socket comes from a proxy, which would be sent in circles. @param target path and query.
 */
export function redirectToHttps(
  tls: TlsConfig | undefined,
  { scheme, host }: Origin,
  peer: Peer,
  target: string,
): Refusal | undefined {
  if (tls?.redirectPort === undefined || scheme === "https" || peer.address === "") {
    return undefined;
  }
  if (host === "" || target === "*") return undefined;
  const port = tls.redirectPort === 443 ? "" : `:${tls.redirectPort}`;
  const location = `https://${host.slice(0, portStart(host))}${port}${target}`;
  const reason = `this is served at ${location}`;
  // The method stays, and so does the body.
  const section = "RFC 9110, 15.4.9";
  return { kind: "refusal", status: 308, reason, section, fields: `Location: ${location}\r\n` };
}

/** Strict-Transport-Security for an answer; only TLS may carry it (RFC 6797 section 7.2). */
export function strictTransport(
  tls: TlsConfig | undefined,
  scheme: Origin["scheme"],
): string | undefined {
  return scheme === "https" ? tls?.strictTransport : undefined;
}
