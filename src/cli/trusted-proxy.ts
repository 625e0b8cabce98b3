/** Addresses of proxies that are believed: one, or a range of them in CIDR form. */
import { isIpAddress } from "../native/listening-socket.ts";

/** `127.0.0.1`, `10.0.0.0/8`, `::1`, `fd00::/8`. */
export function isNetwork(text: string): boolean {
  const [host = "", bits, ...more] = text.split("/");
  if (more.length > 0 || !isIpAddress(host)) return false;
  if (bits === undefined) return true;
  return /^[0-9]{1,3}$/.test(bits) && Number(bits) <= (host.includes(":") ? 128 : 32);
}
