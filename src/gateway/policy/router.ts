/**
 * Which application a request is for. Hosts first: the exact name, else the longest wildcard
 * (`*.example.com` is every name that ends in `.example.com`), else the applications without hosts.
 * Among those of that one host, the longest prefix whose segments the path begins with. Prefixes
 * and paths are compared decoded, but for an escaped slash, which separates nothing.
 */
import { hostName } from "../../http/host.ts";
import { type ByteString, fromText } from "../../wire/bytes.ts";
import { decodePath } from "../../wire/cgi.ts";
import type { AppConfig } from "../config.ts";

interface Mount {
  readonly app: AppConfig;
  /** Decoded; `/`, or without a slash at its end. */
  readonly prefix: ByteString;
}

export interface Route {
  readonly app: AppConfig;
  /** The application's prefix, decoded; empty at the root. */
  readonly script: string;
  /** The rest of the path as it was sent: empty, or it begins with a slash, or it is `*`. */
  readonly below: string;
}

export class Router {
  readonly #exact = new Map<string, Mount[]>();
  /** By what the name ends in, with the dot; longest first. */
  readonly #wildcards: [ending: string, mounts: Mount[]][];
  readonly #everyHost: Mount[] = [];

  constructor(apps: readonly AppConfig[]) {
    const wildcards = new Map<string, Mount[]>();
    const mounts = apps.map((app) => ({ app, prefix: decodePath(fromText(app.prefix)) }));
    const longestFirst = mounts.toSorted((a, b) => b.prefix.length - a.prefix.length);
    for (const mount of longestFirst) {
      const { hosts } = mount.app;
      if (hosts.length === 0) this.#everyHost.push(mount);
      for (const host of hosts) {
        const [map, key] = host.startsWith("*.")
          ? [wildcards, host.slice(1)]
          : [this.#exact, hostName(host)];
        map.getOrInsertComputed(key, () => []).push(mount);
      }
    }
    this.#wildcards = [...wildcards].toSorted(([a], [b]) => b.length - a.length);
  }

  /**
   * @param host as the visitor named it, valid or empty. @param path of the request, not decoded.
   */
  route(host: string, path: string): Route | undefined {
    for (const { app, prefix } of this.#mounts(host)) {
      if (prefix === "/") return { app, script: "", below: path };
      const end = endOfPrefix(path, prefix);
      if (end !== undefined) return { app, script: prefix, below: path.slice(end) };
    }
    return undefined;
  }

  #mounts(host: string): Mount[] {
    if (this.#exact.size === 0 && this.#wildcards.length === 0) return this.#everyHost;
    const name = hostName(host);
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    const wildcard = this.#wildcards.find(([ending]) => name.endsWith(ending));
    return wildcard === undefined ? this.#everyHost : wildcard[1];
  }
}

const slash = 0x2f;

/**
 * Where a decoded prefix ends in a path that is not: `/shop` holds `/shop` and `/shop/x`, but not
 * `/shopping`.
 */
export function endOfPrefix(path: string, prefix: ByteString): number | undefined {
  const end = path.includes("%") ? endOfEncoded(path, prefix) : prefix.length;
  if (end === undefined || (end === prefix.length && !path.startsWith(prefix))) return undefined;
  return end === path.length || path.charCodeAt(end) === slash ? end : undefined;
}

/** The same where an escape may stand for a character; undefined: it begins with something else. */
function endOfEncoded(path: string, prefix: ByteString): number | undefined {
  let at = 0;
  for (let index = 0; index < prefix.length; index += 1) {
    const isEscape = path[at] === "%";
    const code = isEscape ? Number.parseInt(path.slice(at + 1, at + 3), 16) : path.charCodeAt(at);
    if (code !== prefix.charCodeAt(index) || (isEscape && code === slash)) return undefined;
    at += isEscape ? 3 : 1;
  }
  return at;
}
