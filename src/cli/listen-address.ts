/**
 * Addresses to listen on, as people write them: `127.0.0.1:8080`, `[::1]:8080`, `unix:PATH`; a port
 * alone, `8080` or `:8080`, is one of this machine, and `*:8080` says what is for everybody.
 */
import { resolve } from "node:path";

import { isIpAddress } from "../native/listening-socket.ts";
import { maxSocketPath } from "../native/socket.ts";
import type { ListenAddress } from "../gateway/config.ts";

/** How an address is to be taken. */
interface AddressContext {
  /** What a relative path starts from. */
  readonly directory: string;
  readonly tls: boolean;
  readonly unixMode: number;
}

/** @returns the address, or why it is none. */
export function parseListenAddress(text: string, context: AddressContext): ListenAddress | string {
  if (text.startsWith("unix:")) return unixAddress(text.slice(5), context);
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
  return { kind: "tcp", host, port, tls: context.tls };
}

function hostOf(text: string): string {
  if (text === "localhost" || text === "") return "127.0.0.1";
  return text === "*" ? "0.0.0.0" : text;
}

function unixAddress(path: string, context: AddressContext): ListenAddress | string {
  if (path === "") return "'unix:' needs a path";
  if (context.tls) return `'unix:${path}': there is no TLS on a Unix socket`;
  const absolute = resolve(context.directory, path);
  const bytes = Buffer.byteLength(absolute);
  if (bytes > maxSocketPath) {
    return `'unix:${path}': the path has ${bytes} bytes, ${maxSocketPath} are possible`;
  }
  return { kind: "unix", path: absolute, mode: context.unixMode };
}
