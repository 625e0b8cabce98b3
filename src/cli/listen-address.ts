/**
 * Addresses to listen on, as people write them: `127.0.0.1:8080`, `[::1]:8080`, `unix:PATH`; a port
 * alone, `8080` or `:8080`, is one of this machine, and `*:8080` says what is for everybody.
 */
import { isIpAddress } from "../native/listening-socket.ts";
import { maxSocketPath } from "../native/socket.ts";
import type { ListenAddress } from "../gateway/config.ts";
import type { Table } from "./config-table.ts";

/** How an address is to be taken. */
export interface ListenUsage {
  readonly tls: boolean;
  readonly unixMode: number;
  /** Addresses that the configuration has named before; port 0 is another each time. */
  readonly taken: Set<string>;
}

/** What `listen` of a table says; undefined: it is no address. */
export function readListenAddress(
  table: Table,
  text: string,
  usage: ListenUsage,
): ListenAddress | undefined {
  const isUnix = text.startsWith("unix:");
  const address = isUnix ? unixAddress(table, text.slice(5), usage) : tcpAddress(text, usage);
  if (typeof address === "string") {
    table.wrong("listen", address);
    return undefined;
  }
  if (address.kind === "tcp" && address.port === 0) return address;
  const name = address.kind === "tcp" ? `${address.host}:${address.port}` : address.path;
  if (usage.taken.has(name)) table.wrong("listen", `'${text}' is given twice`);
  usage.taken.add(name);
  return address;
}

/** @returns the address, or why it is none. */
function tcpAddress(text: string, { tls }: ListenUsage): ListenAddress | string {
  const [, bracketed, plain, digits] =
    /^(?:(?:\[([^\]]+)\]|([^:[\]]*)):)?([0-9]{1,5})$/.exec(text) ?? [];
  if (digits === undefined) {
    return `'${text}' is neither PORT, HOST:PORT nor unix:PATH (an IPv6 address needs brackets)`;
  }
  const port = Number(digits);
  if (port > 65_535) return `'${text}': there is no port ${port}`;
  const host = hostOf(bracketed ?? plain ?? "");
  if (!isIpAddress(host)) {
    return `'${text}': '${host}' is no IP address in numbers, nor localhost or *`;
  }
  return { kind: "tcp", host, port, tls };
}

function hostOf(text: string): string {
  if (text === "localhost" || text === "") return "127.0.0.1";
  return text === "*" ? "0.0.0.0" : text;
}

/** As tcpAddress. */
function unixAddress(table: Table, path: string, usage: ListenUsage): ListenAddress | string {
  if (path === "") return "'unix:' needs a path";
  if (usage.tls) return `'unix:${path}': there is no TLS on a Unix socket`;
  const absolute = table.resolve(path);
  const bytes = Buffer.byteLength(absolute);
  if (bytes > maxSocketPath) {
    return `'unix:${path}': the path has ${bytes} bytes, ${maxSocketPath} are possible`;
  }
  return { kind: "unix", path: absolute, mode: usage.unixMode };
}
