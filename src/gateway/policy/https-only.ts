/** What brings visitors to TLS. */
import type { TlsConfig } from "../config.ts";
import type { Origin, Peer } from "./forwarded.ts";
import { portStart } from "../../http/host.ts";
import { type Refusal, rule } from "../../http/refusals.ts";

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
  const fields = `Location: ${location}\r\n`;
  // The method stays, and so does the body.
  return rule(308, `this is served at ${location}`, "RFC 9110, 15.4.9", fields);
}
