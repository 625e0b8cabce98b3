/**
 * Addresses, and which of them belong to proxies of our own. An address is held in one form: IPv4
 * dotted, IPv6 as the URL standard writes it, an IPv4 address inside IPv6 (`::ffff:10.0.0.1`) as
 * the IPv4 address it is. The peer of a Unix socket has the empty address.
 */
import { BlockList, isIP } from "node:net";

/** An entry of the list that stands for every peer on a Unix socket. */
const unixEntry = "unix";

export class TrustedProxies {
  readonly #ranges = new BlockList();
  readonly #unix: boolean;
  readonly #hasRanges: boolean;

  /**
   * @param entries addresses, ranges (`10.0.0.0/8`, `fd00::/8`), or `unix`. @throws RangeError that
   * names the entry that is none of these.
   */
  constructor(entries: readonly string[]) {
    const ranges = entries.filter((entry) => entry !== unixEntry);
    this.#unix = ranges.length < entries.length;
    this.#hasRanges = ranges.length > 0;
    for (const entry of ranges) this.#add(entry);
  }

  /** Whether the address, in its one form, is that of a trusted proxy. */
  has(address: string): boolean {
    if (address === "") return this.#unix;
    return this.#hasRanges && this.#ranges.check(address, familyOf(address));
  }

  #add(entry: string): void {
    const [text = "", prefixText, ...rest] = entry.split("/");
    const address = parseAddress(text);
    if (address === undefined || rest.length > 0) throw notAnEntry(entry);
    const family = familyOf(address);
    const bits = family === "ipv4" ? 32 : 128;
    if (prefixText === undefined) return this.#ranges.addSubnet(address, bits, family);
    if (!/^\d{1,3}$/.test(prefixText)) throw notAnEntry(entry);
    // A range of IPv4 addresses inside IPv6 is counted from the front of all 128 bits.
    const inside = family === "ipv4" && text.includes(":") ? 96 : 0;
    const prefix = Number(prefixText) - inside;
    if (prefix < 0 || prefix > bits) throw notAnEntry(entry);
    this.#ranges.addSubnet(address, prefix, family);
  }
}

function notAnEntry(entry: string): RangeError {
  return new RangeError(
    `trusted proxy '${entry}': it must be an address, a range such as 10.0.0.0/8, or 'unix'`,
  );
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return address.includes(":") ? "ipv6" : "ipv4";
}

/** The one form of an address; undefined if it is none. Zones (`fe80::1%eth0`) are none. */
export function parseAddress(text: string): string | undefined {
  const family = text.includes("%") ? 0 : isIP(text);
  if (family === 0) return undefined;
  if (family === 4) return text;
  const address = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address);
  if (mapped === null) return address;
  const [high, low] = [Number.parseInt(mapped[1] ?? "", 16), Number.parseInt(mapped[2] ?? "", 16)];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** A peer's address, as the kernel writes it, in its one form; undefined: a Unix socket. */
export function peerAddress(address: string | undefined): string {
  if (address === undefined) return "";
  // What an IPv4 peer has on a socket for both; the kernel's other forms are the one form already.
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}
