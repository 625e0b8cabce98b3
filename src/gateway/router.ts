/**
 * Which application a request is for. Hosts first: the exact name, else the longest wildcard
 * (`*.example.com` is every name that ends in `.example.com`), else the applications without hosts.
 * Among those of that one host, the longest prefix whose segments the path begins with.
 */
import type { AppConfig } from "./config.ts";
import { hostName } from "../http/host.ts";

/** Longest prefixes first. */
type Mounts = AppConfig[];

export class Router {
  readonly #exact = new Map<string, Mounts>();
  /** By what the name ends in, with the dot; longest first. */
  readonly #wildcards: [ending: string, mounts: Mounts][];
  readonly #everyHost: Mounts = [];

  constructor(apps: readonly AppConfig[]) {
    const wildcards = new Map<string, Mounts>();
    const longestFirst = apps.toSorted((a, b) => b.prefix.length - a.prefix.length);
    for (const app of longestFirst) {
      if (app.hosts.length === 0) this.#everyHost.push(app);
      for (const host of app.hosts) {
        if (host.startsWith("*.")) mountsOf(wildcards, host.slice(1)).push(app);
        else mountsOf(this.#exact, hostName(host)).push(app);
      }
    }
    this.#wildcards = [...wildcards].toSorted(([a], [b]) => b.length - a.length);
  }

  /**
   * @param host as the visitor named it, valid or empty. @param path of the request, not decoded.
   */
  route(host: string, path: string): AppConfig | undefined {
    return this.#mounts(host).find(({ prefix }) => isBelow(path, prefix));
  }

  #mounts(host: string): Mounts {
    if (this.#exact.size === 0 && this.#wildcards.length === 0) return this.#everyHost;
    const name = hostName(host);
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    const wildcard = this.#wildcards.find(([ending]) => name.endsWith(ending));
    return wildcard === undefined ? this.#everyHost : wildcard[1];
  }
}

function mountsOf(map: Map<string, Mounts>, key: string): Mounts {
  const known = map.get(key);
  if (known !== undefined) return known;
  const mounts: Mounts = [];
  map.set(key, mounts);
  return mounts;
}

/** `/shop` holds `/shop` and `/shop/x`, but not `/shopping`. */
function isBelow(path: string, prefix: string): boolean {
  if (prefix === "/") return true;
  if (!path.startsWith(prefix)) return false;
  return path.length === prefix.length || path.charCodeAt(prefix.length) === 0x2f;
}
