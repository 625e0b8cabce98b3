/**
 * Who asks, past the proxies. Only what a trusted proxy says is believed: X-Forwarded-For, -Proto,
 * -Host and X-Request-Id. From anybody else they are dropped. Either way the application gets these
 * four as we know them, and none of the other headers that frameworks take for them: Forwarded
 * (RFC 7239) in particular is neither read nor passed on, so that one thing is said once.
 *
 * X-Forwarded-For is walked from its end, where our nearest proxy has written, past proxies that
 * are trusted too, to the first that is not: the visitor. What lies beyond is the visitor's word.
 */
import { isHost } from "../../http/host.ts";
import type { RequestFields } from "../files/conditions.ts";
import { parseAddress, type TrustedProxies } from "./trusted-proxies.ts";

export interface Origin {
  /** X-Request-Id: the visitor's if a trusted proxy sent it, else our own. */
  readonly id: string;
  /** The visitor's, past the trusted proxies; empty on a Unix socket without any. */
  readonly remoteAddress: string;
  /** X-Forwarded-For for the application: the visitor, then the proxies up to our peer. */
  readonly forwardedFor: string;
  readonly scheme: "http" | "https";
  /** As the visitor named it, with a port if there is one; valid or empty. */
  readonly host: string;
}

/** The socket a request came in on. */
export interface Peer {
  /** In its one form (trusted-proxies.ts). */
  readonly address: string;
  readonly secure: boolean;
}

/** Reads who asks. @param host that the request is for, valid or empty. */
export function originOf(
  headers: RequestFields,
  host: string,
  peer: Peer,
  trusted: TrustedProxies,
): Origin {
  const scheme = peer.secure ? "https" : "http";
  if (!trusted.has(peer.address)) {
    const { address } = peer;
    return { id: crypto.randomUUID(), remoteAddress: address, forwardedFor: address, scheme, host };
  }
  const proto = lastOf(headers.get("x-forwarded-proto"))?.toLowerCase();
  const forwardedHost = lastOf(headers.get("x-forwarded-host"));
  return {
    id: soundId(headers.get("x-request-id")) ?? crypto.randomUUID(),
    ...walk(headers.get("x-forwarded-for"), peer.address, trusted),
    scheme: proto === "http" || proto === "https" ? proto : scheme,
    host: forwardedHost !== undefined && isHost(forwardedHost) ? forwardedHost : host,
  };
}

function walk(
  header: string | null,
  peer: string,
  trusted: TrustedProxies,
): Pick<Origin, "remoteAddress" | "forwardedFor"> {
  const chain = peer === "" ? [] : [peer];
  let remoteAddress = peer;
  const hops = header?.split(",") ?? [];
  while (trusted.has(remoteAddress)) {
    const hop = hops.pop();
    const address = hop === undefined ? undefined : hopAddress(hop.trim());
    // Nobody further, or something like `unknown`: the last address we know has to do.
    if (address === undefined) break;
    remoteAddress = address;
    chain.unshift(address);
  }
  return { remoteAddress, forwardedFor: chain.join(", ") };
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function hopAddress(hop: string): string | undefined {
  const plain = parseAddress(hop);
  if (plain !== undefined) return plain;
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/.exec(hop);
  return match === null ? undefined : parseAddress(match[1] ?? match[2] ?? "");
}

/** The last of a list is what our own proxy has written. */
function lastOf(header: string | null): string | undefined {
  return header?.slice(header.lastIndexOf(",") + 1).trim();
}

/** An id that fits logs and headers everywhere. */
function soundId(header: string | null): string | undefined {
  return header !== null && /^[\w.:/+=@~-]{1,200}$/.test(header) ? header : undefined;
}
