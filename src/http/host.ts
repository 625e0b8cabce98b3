/**
 * The host a request is for: the Host header (RFC 9110 section 7.2), held to names, numbers and
 * ports as they occur, since it decides about routing and ends up in links that applications make.
 */

const name = "[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?\\.?";
const pattern = new RegExp(`^(?:${name}|\\[[0-9A-Fa-f:.]{2,45}\\])(?::(\\d{0,5}))?$`);
/** The longest name in the DNS, and a port. */
const maxLength = 255 + 6;

/** The last that was found good: it is mostly the next one, too. */
let lastHost = "localhost";

/** Whether it is a host with or without a port, and nothing else. */
export function isHost(text: string): boolean {
  if (text === lastHost) return true;
  if (text.length > maxLength) return false;
  const match = pattern.exec(text);
  if (match === null || Number(match[1] ?? 0) > 65_535) return false;
  lastHost = text;
  return true;
}

/** Where the colon before the port is; the length of the host if it names none. */
export function portStart(host: string): number {
  const colon = host.lastIndexOf(":");
  // Within brackets it belongs to an IPv6 address.
  return colon > host.lastIndexOf("]") ? colon : host.length;
}

/** The name to route by: in lower case, without port, without the dot at its end. */
export function hostName(host: string): string {
  const withoutPort = host.slice(0, portStart(host));
  const named = withoutPort.endsWith(".") ? withoutPort.slice(0, -1) : withoutPort;
  return named.toLowerCase();
}
