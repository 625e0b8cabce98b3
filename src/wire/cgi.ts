/**
 * How HTTP is said in the variables of CGI (RFC 3875, 4.1): names of headers, and paths.
 */
import type { ByteString } from "./bytes.ts";

/**
 * Whether a header, its name in lower case, becomes a variable. `Proxy` does not become HTTP_PROXY,
 * which many HTTP clients take for a setting of their own; a name with an underscore would be taken
 * for the one with a dash that a front end vouches for.
 */
export function hasVariable(header: string): boolean {
  return header !== "proxy" && !header.includes("_");
}

/** The variable of a header, its name in lower case. */
export function variableName(header: string): string {
  const name = header.toUpperCase().replaceAll("-", "_");
  return header === "content-length" || header === "content-type" ? name : `HTTP_${name}`;
}

/** Percent-decodes to bytes, one per character: what is no escape stays. */
export function decodePath(path: string): ByteString {
  if (!path.includes("%")) return path as ByteString;
  return path.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  ) as ByteString;
}
