/**
 * Headers that belong to a connection (RFC 9110, 7.6.1), not to what goes over it: they end here,
 * on the way of a request and on that of its answer.
 */

/** In lower case; without Transfer-Encoding, which says of a request that it has a body. */
export const connectionHeaders: readonly string[] = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
];

/** What a Connection header lists, in lower case: options, and names of further such headers. */
export function connectionTokens(header: string): string[] {
  return header.split(",").map((token) => token.trim().toLowerCase());
}
